-- Market ticks, the audit of runs, and how far the stages are that read from the database itself. Safe to apply twice;
-- one transaction.
--
-- stages: orders, ticks, bars, signals, api

begin;
set local client_min_messages = warning;
do $$
begin
  perform pg_advisory_xact_lock(
    coalesce((select n.oid from pg_namespace n where n.nspname = current_schema()), 0)::bigint::bit(32)::int, 2);
end
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Market ticks. Insert-only: the same key with other content is refused by its writer (a dead letter `conflict`), never
-- written over. NaN is greater than every number to PostgreSQL, so "price > 0" alone would let it in. Which characters a
-- symbol may have is checked before: a regular expression here costs more than the rest of the COPY (measured). upper() by
-- the collation "C" knows a-z alone.
-- ---------------------------------------------------------------------------------------------------------------------

create table if not exists tick_data (
  provider text collate "C" not null,
  symbol text collate "C" not null,
  price double precision not null,
  ts timestamptz not null,
  size double precision,
  bid double precision,
  ask double precision,
  created_at timestamptz not null default now(),
  side smallint,
  seq bigint not null default 0,
  tx xid8 not null default pg_current_xact_id(),
  constraint tick_data_pkey primary key (provider, symbol, ts, seq),
  constraint tick_data_symbol_check check (symbol = upper(symbol) and octet_length(symbol) between 1 and 128),
  constraint tick_data_provider_check check (octet_length(provider) between 1 and 64),
  constraint tick_data_price_check check (price > '-Infinity' and price < 'Infinity'),
  constraint tick_data_size_check check (size >= 0 and size < 'Infinity'),
  constraint tick_data_bid_check check (bid > '-Infinity' and bid < 'Infinity'),
  constraint tick_data_ask_check check (ask > '-Infinity' and ask < 'Infinity'),
  constraint tick_data_side_check check (side in (1, -1)),
  constraint tick_data_seq_check check (seq >= 0)
);
-- Symbols had 64 bytes at most before.
do $$
begin
  if exists (select from pg_constraint
              where conrelid = 'tick_data'::regclass and conname = 'tick_data_symbol_check'
                and pg_get_constraintdef(oid) like '%64%') then
    alter table tick_data drop constraint tick_data_symbol_check;
    alter table tick_data add constraint tick_data_symbol_check
      check (symbol = upper(symbol) and octet_length(symbol) between 1 and 128);
  end if;
end
$$;

comment on table tick_data is 'market ticks: one row per provider, symbol, time and seq';
comment on column tick_data.side is '1: the buyer was the aggressor, -1: the seller, null: unknown';
comment on column tick_data.seq is
  'tells ticks of one microsecond apart: the provider''s seq, else its trade_id (a number, or 62 bits of its SHA-256), else 0';
comment on column tick_data.tx is 'the transaction that wrote the row: what "new since" of exports rests on';

-- Minutes of a symbol whose bars may differ from tick_data: its writer met a tick with the id of a stored one and other
-- content, or one that it cannot store. The bars see the order of the log, tick_data that of the commits, and may have
-- chosen differently: the micro-batcher recomputes the windows of such a minute from tick_data.
create table if not exists contested_minutes (
  provider text collate "C" not null,
  symbol text collate "C" not null,
  minute timestamptz not null,
  -- ticks that bars may hold and tick_data does not, at most
  missing bigint not null default 0,
  seen_at timestamptz not null default clock_timestamp(),
  -- that wrote the row last: readers go by it
  tx xid8 not null default pg_current_xact_id(),
  constraint contested_minutes_pkey primary key (provider, symbol, minute)
);
create index if not exists contested_minutes_tx_idx on contested_minutes (tx, provider, symbol, minute);

-- ---------------------------------------------------------------------------------------------------------------------
-- Runs: one row for each run of a consumer, producer, replay, export and so on
-- ---------------------------------------------------------------------------------------------------------------------

create table if not exists job_runs (
  id bigserial primary key,
  job_name text not null,
  provider text,
  status text not null default 'pending'
    constraint job_runs_status_check
    check (status in ('pending', 'running', 'paused', 'success', 'failed', 'cancelled')),
  symbols text[],
  rows_written bigint not null default 0,
  min_ts timestamptz,
  max_ts timestamptz,
  started_at timestamptz not null default clock_timestamp(),
  completed_at timestamptz,
  error_message text,
  metadata jsonb not null default '{}',
  -- a run whose process died without a word: its heartbeat is old
  heartbeat_at timestamptz not null default clock_timestamp()
);
create index if not exists job_runs_job_name_idx on job_runs (job_name, id);

-- How far a stage is that reads from tables and not from the bus.
create table if not exists stage_cursors (
  name text primary key,
  "position" jsonb not null,
  updated_at timestamptz not null default now()
);

-- Which process does what only one may do: until it expires, by the database's clock.
create table if not exists stage_leases (
  name text primary key,
  holder text not null,
  expires_at timestamptz not null
) with (fillfactor = 10);

-- Compression exists in the community edition alone. Later than any late event is expected: a COPY into a compressed chunk
-- is slow. Null: never compressed.
alter table schema_hypertables
  add column if not exists compress_segment_by text,
  add column if not exists compress_order_by text,
  add column if not exists compress_after interval,
  add column if not exists compress_set_for oid;
comment on column schema_hypertables.compress_set_for is
  'the table whose compression was set up: once, and from then on settings and policy are the operator''s';

insert into schema_hypertables
  (table_name, column_name, chunk_interval, compress_segment_by, compress_order_by, compress_after) values
  ('tick_data', 'ts', interval '1 day', 'provider, symbol', 'ts desc, seq desc', interval '7 days')
  on conflict (table_name) do nothing;

-- 'set', 'present', or 'absent' where the table has no such plan, is no hypertable or the edition cannot compress. Also
-- called when "mdp db hypertables" converts a table later. What was set up once, by this or by somebody else, is left as it
-- is: a policy that was removed does not come back, and settings that were changed stay.
create or replace function schema_compress(p_table text) returns text
language plpgsql volatile set search_path from current
as $$
declare
  plan schema_hypertables;
  extension_schema name;
  own_schema name := (select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                       where c.oid = quote_ident(p_table)::regclass);
begin
  select * into strict plan from schema_hypertables where table_name = p_table;
  if plan.compress_after is null or coalesce(current_setting('timescaledb.license', true), '') <> 'timescale' then
    return 'absent';
  end if;
  select n.nspname into strict extension_schema
    from pg_extension e join pg_namespace n on n.oid = e.extnamespace
    where e.extname = 'timescaledb';
  if not exists (select from timescaledb_information.hypertables
                  where hypertable_schema = own_schema and hypertable_name = p_table) then
    return 'absent';
  end if;
  if plan.compress_set_for = quote_ident(p_table)::regclass then
    return 'present';
  end if;
  update schema_hypertables set compress_set_for = quote_ident(p_table)::regclass where table_name = p_table;
  if exists (select from timescaledb_information.hypertables
              where hypertable_schema = own_schema and hypertable_name = p_table and compression_enabled) then
    return 'present';
  end if;
  execute format('alter table %I set (timescaledb.compress, timescaledb.compress_segmentby = %L, timescaledb.compress_orderby = %L)',
    p_table, plan.compress_segment_by, plan.compress_order_by);
  execute format('select %I.add_compression_policy($1, $2)', extension_schema)
    using quote_ident(p_table)::regclass, plan.compress_after;
  return 'set';
end
$$;

set local client_min_messages = notice;

do $$
begin
  if schema_timescaledb() is not null then
    perform schema_make_hypertable('tick_data', false);
    begin
      perform schema_compress('tick_data');
    exception when insufficient_privilege or feature_not_supported or undefined_function or undefined_table then
      raise notice 'tick_data is not compressed: %', sqlerrm;
    end;
  end if;
end
$$;

set local client_min_messages = warning;

insert into schema_migrations (name) values ('004_market_data.sql') on conflict (name) do nothing;

commit;
