-- Bars of market ticks: the live ones, those of replays, the versions that corrections replaced, and how far the
-- micro-batcher is. Safe to apply twice; one transaction.
--
-- stages: bars, signals, api

begin;
set local client_min_messages = warning;
do $$
begin
  perform pg_advisory_xact_lock(
    coalesce((select n.oid from pg_namespace n where n.nspname = current_schema()), 0)::bigint::bit(32)::int, 2);
end
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Bars. volume and the sum behind vwap are exact sums rounded once; what rounding left over travels in volume_parts and
-- pv_parts (non-overlapping doubles, the largest first, whose sum is exact), so that coarser bars are merged exactly.
-- ---------------------------------------------------------------------------------------------------------------------

create table if not exists bars_ohlcv (
  provider text collate "C" not null,
  symbol text collate "C" not null,
  "interval" text collate "C" not null,
  ts timestamptz not null,
  open double precision not null,
  high double precision not null,
  low double precision not null,
  close double precision not null,
  volume double precision not null,
  vwap double precision,
  tick_count bigint not null,
  first_ts timestamptz not null,
  last_ts timestamptz not null,
  is_final boolean not null,
  revision int not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  tx xid8 not null default pg_current_xact_id(),
  volume_parts double precision[],
  pv_parts double precision[],
  constraint bars_ohlcv_pkey primary key (provider, symbol, "interval", ts),
  constraint bars_ohlcv_prices_check check (
    low > '-Infinity' and high < 'Infinity' and low <= open and low <= close and open <= high and close <= high),
  constraint bars_ohlcv_volume_check check (volume >= 0 and volume <> 'NaN')
);
comment on table bars_ohlcv is 'bars of live ticks: a row for each provider, symbol, interval and start of a window';
comment on column bars_ohlcv.ts is 'start of the window, which is half-open: [ts, ts + interval)';
comment on column bars_ohlcv.tick_count is 'distinct ticks; 0: made of bar events';
comment on column bars_ohlcv.is_final is 'false: a window of a coarser interval that is still open, rewritten in place';
comment on column bars_ohlcv.revision is 'how often a final row was corrected; the versions before are in bars_history';
comment on column bars_ohlcv.volume_parts is 'null: volume itself is exact';
comment on column bars_ohlcv.pv_parts is 'sum of price x size; null: not known, as of bar events, and vwap is null then';

-- Bars of replayed ticks: a run never touches live rows. last_seq: with last_ts the last tick that the row holds, behind
-- which its run may go on.
create table if not exists bars_replay (
  replay_run_id bigint not null,
  provider text collate "C" not null,
  symbol text collate "C" not null,
  "interval" text collate "C" not null,
  ts timestamptz not null,
  open double precision not null,
  high double precision not null,
  low double precision not null,
  close double precision not null,
  volume double precision not null,
  vwap double precision,
  tick_count bigint not null,
  first_ts timestamptz not null,
  last_ts timestamptz not null,
  last_seq bigint not null default 0,
  is_final boolean not null,
  revision int not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  tx xid8 not null default pg_current_xact_id(),
  volume_parts double precision[],
  pv_parts double precision[],
  constraint bars_replay_pkey primary key (replay_run_id, provider, symbol, "interval", ts),
  constraint bars_replay_run_check check (replay_run_id > 0)
);

-- Each version of a final bar that a correction replaced; revision is the replaced version's own.
create table if not exists bars_history (
  provider text collate "C" not null,
  symbol text collate "C" not null,
  "interval" text collate "C" not null,
  ts timestamptz not null,
  revision int not null,
  open double precision not null,
  high double precision not null,
  low double precision not null,
  close double precision not null,
  volume double precision not null,
  vwap double precision,
  tick_count bigint not null,
  first_ts timestamptz not null,
  last_ts timestamptz not null,
  is_final boolean not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  tx xid8 not null default pg_current_xact_id(),
  volume_parts double precision[],
  pv_parts double precision[],
  replaced_at timestamptz not null default clock_timestamp(),
  constraint bars_history_pkey primary key (provider, symbol, "interval", ts, revision)
);
comment on column bars_history.tx is 'the transaction that replaced it';

-- ---------------------------------------------------------------------------------------------------------------------
-- State of the micro-batcher, written in the transaction of the bars themselves.
-- ---------------------------------------------------------------------------------------------------------------------

-- One row for each partition that was ever worked on. Its position (last entry read) is in bus_positions.
create table if not exists bars_partitions (
  topic text not null,
  group_name text not null,
  partition int not null,
  -- transactions so far: a step whose COMMIT was not answered is known by it
  step bigint not null default 0,
  -- the log that the positions belong to: another server, or a topic made anew, is another log
  log text,
  -- all windows that are open began behind this entry: a restart reads from here; null: from the beginning
  open_after text,
  -- entries from there to the position; fewer at a restart means that the bus lost some of them
  open_count bigint not null default 0,
  -- late events that policy drop let go, ever
  late_dropped bigint not null default 0,
  updated_at timestamptz not null default now(),
  constraint bars_partitions_pkey primary key (topic, group_name, partition)
) with (fillfactor = 10);

-- up to which transaction the partition has read contested_minutes
alter table bars_partitions add column if not exists contested_from xid8 not null default '0';

-- Watermarks. Everything before closed_end is closed: an event there is late.
create table if not exists bars_watermarks (
  topic text not null,
  group_name text not null,
  partition int not null,
  replay_run_id bigint not null,
  provider text collate "C" not null,
  symbol text collate "C" not null,
  max_ts timestamptz not null,
  closed_end timestamptz not null,
  updated_at timestamptz not null default now(),
  constraint bars_watermarks_pkey primary key (topic, group_name, partition, replay_run_id, provider, symbol)
) with (fillfactor = 50);

-- Windows that got a late event or two contents of one tick, or lie in a contested minute: recomputed from tick_data once
-- they are closed and the tick consumer has acknowledged past position (null: at once).
create table if not exists bars_late_windows (
  topic text not null,
  group_name text not null,
  partition int not null,
  provider text collate "C" not null,
  symbol text collate "C" not null,
  ts timestamptz not null,
  ts_end timestamptz not null,
  "position" text,
  created_at timestamptz not null default now(),
  constraint bars_late_windows_pkey primary key (topic, group_name, partition, provider, symbol, ts, ts_end)
);

-- alone: contested, and no event came late; too: both; null: late alone
alter table bars_late_windows add column if not exists contested text;

-- First in each transaction of the micro-batcher: fence and epoch (bus_commit_position), then the number of the step, which
-- may be committed once. False: this step is committed already, its answer was lost. Raises MDF01 when the partition was
-- taken over.
create or replace function bars_begin_step(
  p_topic text, p_group text, p_partition int, p_epoch bigint, p_position text,
  p_step bigint, p_log text, p_open_after text, p_open_count bigint, p_dropped bigint
) returns boolean
language plpgsql volatile set search_path from current
as $$
declare
  found_step bigint;
begin
  perform bus_commit_position(p_topic, p_group, p_partition, p_epoch, p_position);
  insert into bars_partitions (topic, group_name, partition) values (p_topic, p_group, p_partition) on conflict do nothing;
  select b.step into strict found_step from bars_partitions b
    where b.topic = p_topic and b.group_name = p_group and b.partition = p_partition for update;
  if found_step = p_step then
    return false;
  elsif found_step <> p_step - 1 then
    raise exception 'step % of partition % of % in group % follows step %', p_step, p_partition, p_topic, p_group, found_step
      using errcode = 'assert_failure';
  end if;
  update bars_partitions b
    set step = p_step, log = p_log, open_after = p_open_after, open_count = p_open_count,
        late_dropped = b.late_dropped + p_dropped, updated_at = now()
    where b.topic = p_topic and b.group_name = p_group and b.partition = p_partition;
  return true;
end
$$;

insert into schema_hypertables (table_name, column_name, chunk_interval) values
  ('bars_ohlcv', 'ts', interval '7 days'),
  ('bars_replay', 'ts', interval '7 days'),
  ('bars_history', 'ts', interval '7 days')
  on conflict (table_name) do nothing;

set local client_min_messages = notice;

do $$
begin
  if schema_timescaledb() is not null then
    perform schema_make_hypertable(t, false) from unnest(array['bars_ohlcv', 'bars_replay', 'bars_history']) as t;
  end if;
end
$$;

set local client_min_messages = warning;

insert into schema_migrations (name) values ('005_bars.sql') on conflict (name) do nothing;

commit;
