-- Signals, and how far the stages that make them are: positions and the state of features. Safe to apply twice; one
-- transaction.
--
-- stages: signals, inference, api

begin;
set local client_min_messages = warning;
do $$
begin
  perform pg_advisory_xact_lock(
    coalesce((select n.oid from pg_namespace n where n.nspname = current_schema()), 0)::bigint::bit(32)::int, 2);
end
$$;

create table if not exists signals (
  provider text collate "C" not null,
  symbol text collate "C" not null,
  ts timestamptz not null,
  name text collate "C" not null,
  value double precision not null,
  score double precision,
  metadata jsonb,
  created_at timestamptz not null default now(),
  replay_run_id bigint not null default 0,
  tx xid8 not null default pg_current_xact_id(),
  constraint signals_pkey primary key (provider, symbol, ts, name, replay_run_id),
  constraint signals_value_check check (value > '-Infinity' and value < 'Infinity'),
  constraint signals_score_check check (score > '-Infinity' and score < 'Infinity'),
  constraint signals_run_check check (replay_run_id >= 0)
);
comment on table signals is 'what rules, models and the signal consumer said, each once';
comment on column signals.ts is 'event time: of the tick, or the end of the window';
comment on column signals.metadata is 'window, price, model_version; replay_run_id where it is of a replay';
comment on column signals.replay_run_id is '0: live';

-- "the newest ones of this name", whatever the symbol
create index if not exists signals_name_ts_idx on signals (name, ts desc);

-- ---------------------------------------------------------------------------------------------------------------------
-- State of the stages.
-- ---------------------------------------------------------------------------------------------------------------------

-- One row for each partition that was ever worked on. Its position (last entry whose signals are stored) is in bus_positions.
create table if not exists signal_partitions (
  topic text not null,
  group_name text not null,
  partition int not null,
  -- transactions so far: a step whose COMMIT was not answered is known by it
  step bigint not null default 0,
  -- the log that the positions belong to: another server, or a topic made anew, is another log
  log text,
  -- the entry that feature_states are of: a restart reads behind it; null: from the beginning
  state_after text,
  updated_at timestamptz not null default now(),
  constraint signal_partitions_pkey primary key (topic, group_name, partition)
) with (fillfactor = 10);

-- What features remember of a symbol, as of state_after.
create table if not exists feature_states (
  topic text not null,
  group_name text not null,
  partition int not null,
  replay_run_id bigint not null,
  provider text collate "C" not null,
  symbol text collate "C" not null,
  -- which features, over which windows: a state of others is of no use
  shape text not null,
  state bytea not null,
  -- rules in mode edge that were true
  facts jsonb not null default '[]',
  -- the first tick that the features know
  anchor timestamptz,
  -- they began with the ticks before this time that were stored, by this snapshot, and not too late
  primed_before timestamptz,
  primed_seen pg_snapshot,
  updated_at timestamptz not null default now(),
  constraint feature_states_pkey primary key (topic, group_name, partition, replay_run_id, provider, symbol)
);
-- numbers that do not compress: no time is spent on it
alter table feature_states alter column state set storage external;

-- Which ticks took part in the features of a group, after those that they began with: blocks of keys (time and seq, a few bytes each) as
-- src/core/signal/taken-keys.ts writes them. A tick that comes again, however much later, is told by them from one that comes too late.
create table if not exists feature_keys (
  topic text not null,
  group_name text not null,
  provider text collate "C" not null,
  symbol text collate "C" not null,
  -- features that began anew do not know what came before: the next transaction id of primed_seen
  life bigint not null,
  -- of the last key; the first one is behind the block before
  ts timestamptz not null,
  keys bytea not null,
  constraint feature_keys_pkey primary key (topic, group_name, provider, symbol, life, ts)
);
alter table feature_keys alter column keys set storage external;

-- Ticks that came too late for the features of a group: what is computed from tick_data later leaves them out as well.
create table if not exists features_late (
  topic text not null,
  group_name text not null,
  provider text collate "C" not null,
  symbol text collate "C" not null,
  ts timestamptz not null,
  seq bigint not null,
  created_at timestamptz not null default now(),
  constraint features_late_pkey primary key (provider, symbol, ts, seq, topic, group_name)
);

-- What the stage `inference` saw, by symbol and hour: the sum of the digests of its rows of features, modulo 2^128. What is computed
-- from tick_data later can be compared with it.
create table if not exists feature_digests (
  topic text not null,
  group_name text not null,
  replay_run_id bigint not null,
  provider text collate "C" not null,
  symbol text collate "C" not null,
  -- start of the hour of the rows' times
  ts timestamptz not null,
  -- of the first and the last of them
  first_ts timestamptz not null,
  last_ts timestamptz not null,
  shape text not null,
  rows bigint not null,
  digest bytea not null,
  updated_at timestamptz not null default now(),
  constraint feature_digests_pkey primary key (topic, group_name, replay_run_id, provider, symbol, ts)
);

-- First in each transaction of the stages: fence and epoch (bus_commit_position), then the number of the step, which may be
-- committed once. False: this step is committed already, its answer was lost. Raises MDF01 when the partition was taken over.
create or replace function signals_begin_step(
  p_topic text, p_group text, p_partition int, p_epoch bigint, p_position text, p_step bigint, p_log text
) returns boolean
language plpgsql volatile set search_path from current set jit = off
as $$
declare
  found_step bigint;
begin
  perform bus_commit_position(p_topic, p_group, p_partition, p_epoch, p_position);
  insert into signal_partitions (topic, group_name, partition) values (p_topic, p_group, p_partition) on conflict do nothing;
  select s.step into strict found_step from signal_partitions s
    where s.topic = p_topic and s.group_name = p_group and s.partition = p_partition for update;
  if found_step = p_step then
    return false;
  elsif found_step <> p_step - 1 then
    raise exception 'step % of partition % of % in group % follows step %', p_step, p_partition, p_topic, p_group, found_step
      using errcode = 'assert_failure';
  end if;
  update signal_partitions s
    set step = p_step, log = p_log, updated_at = now()
    where s.topic = p_topic and s.group_name = p_group and s.partition = p_partition;
  return true;
end
$$;

insert into schema_hypertables (table_name, column_name, chunk_interval) values
  ('signals', 'ts', interval '7 days')
  on conflict (table_name) do nothing;

set local client_min_messages = notice;

do $$
begin
  if schema_timescaledb() is not null then
    perform schema_make_hypertable('signals', false);
  end if;
end
$$;

set local client_min_messages = warning;

insert into schema_migrations (name) values ('010_signals.sql') on conflict (name) do nothing;

commit;
