-- The chain: ticks, proofs, transactions, and the state that makes their ingestion exactly-once.
-- Enough alone for STAGES=ingest. Safe to apply twice:
--
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f schema/001_create_tables.sql
--
-- The file is one transaction: an error leaves nothing half done. Names are plain, so everything lands in the first
-- schema of search_path. PostgreSQL 15-18, without TimescaleDB or with either of its editions.
--
-- stages: all

begin;

-- "already exists, skipping" is the normal case of the second run and would bury the notices that matter.
set local client_min_messages = warning;

-- Two migrators must not race between "if not exists" and the creation. The key is the schema, so that two schemas of
-- one database do not wait for each other; the 2 keeps it apart from the writers' fence (ingest_fence_key(), 1).
do $$
begin
  perform pg_advisory_xact_lock(
    coalesce((select n.oid from pg_namespace n where n.nspname = current_schema()), 0)::bigint::bit(32)::int, 2);
end
$$;

create table if not exists schema_migrations (
  name text primary key,
  applied_at timestamptz not null default now()
);

-- ---------------------------------------------------------------------------------------------------------------------
-- The chain itself. The order of the columns is that of the binary COPY. No foreign keys between these tables: on
-- hypertables they deadlock with concurrent COPY and the creation of chunks, and one transaction writes all three.
-- Hex columns collate "C": a comparison is then a memcmp, whatever locale the database was made with.
-- ---------------------------------------------------------------------------------------------------------------------

create table if not exists ticks (
  tick_number bigint not null,
  "timestamp" timestamptz not null,
  batch_hash text collate "C" not null,
  previous_output text collate "C",
  constraint ticks_pkey primary key ("timestamp", tick_number)
);
create index if not exists ticks_tick_number_idx on ticks (tick_number);

-- The number alone is the key, so the database itself refuses a second copy of a tick, also on a hypertable (whose
-- unique indexes must contain the partition column). ticks cannot do that: it is partitioned by time.
create table if not exists vdf_proofs (
  tick_number bigint not null,
  input text collate "C" not null,
  output text collate "C" not null,
  proof text collate "C" not null,
  iterations bigint not null,
  constraint vdf_proofs_pkey primary key (tick_number)
);

create table if not exists tick_transactions (
  tx_hash text collate "C" not null,
  tx_id text,
  tick_number bigint not null,
  sequence_number bigint not null,
  payload bytea not null,
  signature bytea not null,
  public_key bytea not null,
  nonce numeric(20, 0) not null,
  "timestamp" timestamptz,
  tick_timestamp timestamptz not null,
  ingestion_timestamp timestamptz not null,
  tx_id_raw bytea,
  timestamp_us numeric(20, 0),
  constraint tick_transactions_pkey primary key (tick_timestamp, tick_number, sequence_number)
);
-- Hash, because only equality is asked: digests are random, so every insert into a B-tree lands on another page of all
-- of it, and it slows down as it grows (after 3 million rows 357 MB and a third slower; this one 97 MB and level).
create index if not exists tick_transactions_tx_hash_idx on tick_transactions using hash (tx_hash);
create index if not exists tick_transactions_tick_number_idx on tick_transactions (tick_number);

comment on column ticks.previous_output is
  'null only when the tick before it is in the same batch and its output is equal; v_ticks_complete always shows it';
comment on column tick_transactions.tx_id is 'null when the bytes hold NUL or are no UTF-8: tx_id_raw has them then';
comment on column tick_transactions.tx_id_raw is 'the bytes of a tx_id that text cannot hold, else null';
comment on column tick_transactions."timestamp" is 'null outside timestamptz: timestamp_us has the value then';
comment on column tick_transactions.timestamp_us is 'microseconds since 1970 of a timestamp that timestamptz cannot hold, else null';

-- ---------------------------------------------------------------------------------------------------------------------
-- The state of the ingestion
-- ---------------------------------------------------------------------------------------------------------------------

-- One row per schema. The lease is renewed every second: room on the page keeps those updates heap-only.
create table if not exists ingest_state (
  singleton boolean primary key default true check (singleton),
  chain_id text not null,
  origin bigint check (origin >= 0),
  epoch bigint not null default 0,
  holder text,
  lease_expires_at timestamptz,
  holder_since timestamptz,
  halt text check (halt in ('poison', 'forked')),
  halt_reason text,
  halted_at timestamptz,
  accepted_at timestamptz,
  fork_accepted boolean not null default false
) with (fillfactor = 10);
comment on column ingest_state.halt is 'why ingestion waits for an operator (tick-ingester resume), null when it does not';
comment on column ingest_state.accepted_at is 'dead letters from before are accepted and no longer counted by the brake';
comment on column ingest_state.fork_accepted is
  'an operator goes on although the head of the sequencer is below our position; false again once it is not';

-- One row per batch, written in the batch's own transaction; it covers a contiguous range.
create table if not exists ingest_ledger (
  first_tick bigint primary key check (first_tick >= 0),
  last_tick bigint not null,
  epoch bigint not null,
  ticks bigint not null,
  transactions bigint not null,
  dead_letters bigint not null default 0,
  committed_at timestamptz not null default clock_timestamp(),
  check (last_tick >= first_tick)
);

create table if not exists ingest_gaps (
  gap_id bigint generated always as identity primary key,
  first_tick bigint not null check (first_tick >= 0),
  last_tick bigint not null,
  state text not null default 'open' check (state in ('open', 'filled', 'unfillable', 'skipped')),
  detected_at timestamptz not null default clock_timestamp(),
  closed_at timestamptz,
  attempts int not null default 0,
  next_attempt_at timestamptz,
  last_error text,
  check (last_tick >= first_tick)
);
create index if not exists ingest_gaps_open_idx on ingest_gaps (first_tick) where state = 'open';
create index if not exists ingest_gaps_first_tick_idx on ingest_gaps (first_tick);
create index if not exists ingest_gaps_last_tick_idx on ingest_gaps (last_tick);
comment on column ingest_gaps.attempts is 'how often a part of it was asked for in vain';
comment on column ingest_gaps.last_error is 'what the last attempt in vain was answered';

create table if not exists dead_letters (
  dead_letter_id bigint generated always as identity primary key,
  tick_number numeric(20, 0),
  after_tick bigint,
  reason text not null,
  detail text,
  sqlstate text,
  raw bytea not null,
  raw_sha256 bytea not null,
  stored_sha256 bytea,
  epoch bigint,
  status text not null default 'open' check (status in ('open', 'resolved')),
  created_at timestamptz not null default now(),
  resolved_at timestamptz
);
comment on column dead_letters.tick_number is 'the number the frame states (u64), null when it has none to be read';
comment on column dead_letters.after_tick is 'the tick before a frame without a usable number';
comment on column dead_letters.stored_sha256 is
  'reason conflict: digest of the stored tick, of the same canonical bytes as the digest that detail names';
-- The same frame sent again is the same dead letter.
create unique index if not exists dead_letters_once_idx
  on dead_letters (coalesce(tick_number, -1), coalesce(after_tick, -1), raw_sha256);
create index if not exists dead_letters_created_at_idx on dead_letters (created_at);

-- What CHAIN_CHECK found in stored ticks. Data is kept whatever it says; "tick-ingester verify" says it again.
create table if not exists chain_alarms (
  tick_number bigint not null,
  kind text not null check (kind in ('link', 'tx_hash', 'batch_hash', 'vdf_input', 'vdf_output')),
  detail text,
  epoch bigint,
  detected_at timestamptz not null default clock_timestamp(),
  constraint chain_alarms_pkey primary key (tick_number, kind)
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Hypertables, where the server can. Later files of this folder name their tables here too, and "mdp db hypertables"
-- converts what could not be converted when its file was applied.
-- ---------------------------------------------------------------------------------------------------------------------

create table if not exists schema_hypertables (
  table_name text primary key,
  column_name text not null,
  chunk_interval interval,
  chunk_width bigint,
  check (num_nonnulls(chunk_interval, chunk_width) = 1)
);
comment on table schema_hypertables is 'which tables are hypertables where TimescaleDB can be used, and by what column';

-- The schema of TimescaleDB's functions where they can be used, else null with a notice that says why. Creates the
-- extension where the server has it and this role may.
create or replace function schema_timescaledb() returns name
language plpgsql volatile set search_path from current
as $$
declare
  preloaded boolean;
  created boolean := exists (select from pg_extension where extname = 'timescaledb');
  extension_schema name;
begin
  -- shared_preload_libraries is hidden from ordinary roles; the loader's own settings are not. Without the library a
  -- call of one of the extension's functions would end this session.
  select coalesce(bool_or(name like 'timescaledb.%' or setting ~ '(^|[ ,"/])timescaledb($|[ ,"-])'), false)
    into preloaded
    from pg_settings
    where name like 'timescaledb.%' or name = 'shared_preload_libraries';
  if not preloaded and created then
    raise notice 'timescaledb is created here but not in shared_preload_libraries: hypertables cannot be used until it is';
    return null;
  elsif not preloaded then
    raise notice 'timescaledb is not preloaded: the tables stay plain';
    return null;
  end if;

  if not created then
    if not exists (select from pg_available_extensions where name = 'timescaledb') then
      raise notice 'timescaledb is preloaded but its extension files are absent: the tables stay plain';
      return null;
    end if;
    begin
      -- The extension belongs to the database: in a schema of ours it would go when that schema is dropped.
      if exists (select from pg_namespace where nspname = 'public') then
        create extension timescaledb schema public;
      else
        create extension timescaledb;
      end if;
    exception when insufficient_privilege then
      raise notice 'timescaledb is available but this role may not create it: the tables stay plain. '
        'A superuser can run "create extension timescaledb", then "mdp db hypertables" converts them';
      return null;
    end;
  end if;
  select n.nspname into extension_schema
    from pg_extension e join pg_namespace n on n.oid = e.extnamespace
    where e.extname = 'timescaledb';
  return extension_schema;
end
$$;

-- 'present', 'converted', or 'plain' with a notice that says why. p_migrate: converts a table that holds rows too
-- (exclusive lock, rewrites all of it) and raises what goes wrong.
create or replace function schema_make_hypertable(p_table text, p_migrate boolean) returns text
language plpgsql volatile set search_path from current
as $$
declare
  plan schema_hypertables;
  extension_schema name;
  is_hypertable boolean;
  has_rows boolean;
  -- The positional form is the one that every release of TimescaleDB has.
  call constant text := 'select %I.create_hypertable($1, $2, chunk_time_interval => $3, create_default_indexes => false, migrate_data => $4)';
begin
  select * into strict plan from schema_hypertables where table_name = p_table;
  select n.nspname into strict extension_schema
    from pg_extension e join pg_namespace n on n.oid = e.extnamespace
    where e.extname = 'timescaledb';
  execute 'select exists (
      select from timescaledb_information.hypertables h
        join pg_namespace n on n.nspname = h.hypertable_schema
        join pg_class c on c.relnamespace = n.oid and c.relname = h.hypertable_name
        where c.oid = $1::regclass)'
    into is_hypertable using quote_ident(p_table);
  if is_hypertable then
    return 'present';
  end if;
  execute format('select exists (select from %I)', p_table) into has_rows;
  if has_rows and not p_migrate then
    raise notice '% holds rows and stays a plain table: "mdp db hypertables" converts it', p_table;
    return 'plain';
  end if;
  begin
    if plan.chunk_width is null then
      execute format(call, extension_schema)
        using quote_ident(p_table)::regclass, plan.column_name::name, plan.chunk_interval, p_migrate;
    else
      execute format(call, extension_schema)
        using quote_ident(p_table)::regclass, plan.column_name::name, plan.chunk_width, p_migrate;
    end if;
  exception when insufficient_privilege or feature_not_supported or undefined_function then
    if p_migrate then
      raise;
    end if;
    raise notice '% stays a plain table: %', p_table, sqlerrm;
    return 'plain';
  end;
  return 'converted';
end
$$;

insert into schema_hypertables (table_name, column_name, chunk_interval, chunk_width) values
  ('ticks', 'timestamp', interval '1 day', null),
  ('vdf_proofs', 'tick_number', null, 50000000),
  ('tick_transactions', 'tick_timestamp', interval '1 day', null)
  on conflict (table_name) do nothing;

set local client_min_messages = notice;

do $$
begin
  if schema_timescaledb() is not null then
    perform schema_make_hypertable(t, false) from unnest(array['ticks', 'vdf_proofs', 'tick_transactions']) as t;
    raise notice 'timescaledb % (license %)',
      (select extversion from pg_extension where extname = 'timescaledb'),
      coalesce(current_setting('timescaledb.license', true), 'unknown');
  end if;
end
$$;

set local client_min_messages = warning;

-- ---------------------------------------------------------------------------------------------------------------------
-- Functions of the ingestion. "set search_path from current" ties them to the schema this file was applied in.
-- ---------------------------------------------------------------------------------------------------------------------

-- The first key of the writers' fence. Advisory locks belong to the database: the oid of the ledger keeps two schemas
-- apart. Oids exceed 2^31, so the bits are kept and the sign is not.
create or replace function ingest_fence_key() returns int
language sql stable set search_path from current
as $$ select ('ingest_ledger'::regclass)::oid::bigint::bit(32)::int $$;

-- First call of a batch's transaction: fence, ledger row, gaps; one round trip. READ COMMITTED is required: the epoch
-- must be read by a snapshot taken after the lock was granted, or a replaced writer would still see its own epoch.
-- p_first null: the batch holds unnumbered dead letters alone and is only fenced.
-- p_gap_*: a hole before this batch, recorded with the first batch beyond it.
-- p_fill: the batch holds ticks of open gaps; what it covers of them is closed.
-- Raises MDF01 when the writer was replaced, 23505 when the range is in the ledger already.
create or replace function ingest_begin_batch(
  p_epoch bigint, p_first bigint, p_last bigint, p_ticks bigint, p_transactions bigint, p_dead bigint,
  p_gap_first bigint, p_gap_last bigint, p_fill boolean
) returns void
language plpgsql volatile set search_path from current
as $$
declare
  current_epoch bigint;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'ingest_begin_batch needs READ COMMITTED, not %', current_setting('transaction_isolation')
      using errcode = 'invalid_transaction_state';
  end if;
  perform pg_advisory_xact_lock_shared(ingest_fence_key(), 1);
  select epoch into current_epoch from ingest_state;
  if current_epoch is distinct from p_epoch then
    raise exception 'this writer was replaced: epoch %, now %', p_epoch, coalesce(current_epoch::text, 'none')
      using errcode = 'MDF01';
  end if;
  -- before the fill: a late tick may lie in the very gap that its batch records
  if p_gap_first is not null then
    insert into ingest_gaps (first_tick, last_tick) values (p_gap_first, p_gap_last);
  end if;
  if p_first is not null then
    insert into ingest_ledger (first_tick, last_tick, epoch, ticks, transactions, dead_letters)
      values (p_first, p_last, p_epoch, p_ticks, p_transactions, p_dead);
    if p_fill then
      perform ingest_close_gaps(p_first, p_last, 'filled', null);
    end if;
  end if;
end
$$;

-- One transaction at a time changes gaps that exist: cutting a gap makes new rows, which another one that waited for the
-- old row would not see. The fence is taken before, always; a new gap needs no lock.
create or replace function ingest_lock_gaps() returns void
language sql volatile set search_path from current
as $$ select pg_advisory_xact_lock(ingest_fence_key(), 3) $$;

-- Gaps never overlap: the ones that reach into what begins at p_first begin here at the lowest.
create or replace function ingest_gap_floor(p_first bigint) returns bigint
language sql stable set search_path from current
as $$
  select coalesce((select max(g.first_tick) from ingest_gaps g where g.first_tick <= p_first), p_first)
$$;

-- Cuts every gap that overlaps [p_first, p_last]: the covered part becomes a row of its own in state p_state, what remains
-- on either side stays as it was, with its history of attempts. 'filled' and 'skipped' close open and given-up gaps,
-- 'unfillable' open ones alone. Parts of one gap that touch and met the same fate are one row. Returns how many gaps were cut.
create or replace function ingest_close_gaps(p_first bigint, p_last bigint, p_state text, p_error text) returns int
language plpgsql volatile set search_path from current
as $$
declare
  gap ingest_gaps;
  low bigint;
  high bigint;
  -- null above the highest number
  above bigint;
  cut int := 0;
begin
  perform ingest_lock_gaps();
  for gap in
    select * from ingest_gaps
      where (state = 'open' or (state = 'unfillable' and p_state in ('filled', 'skipped')))
        and first_tick between ingest_gap_floor(p_first) and p_last and last_tick >= p_first
      order by first_tick
      for update
  loop
    cut := cut + 1;
    low := greatest(gap.first_tick, p_first);
    high := least(gap.last_tick, p_last);
    above := case when high < 9223372036854775807 then high + 1 end;
    insert into ingest_gaps
        (first_tick, last_tick, state, detected_at, closed_at, attempts, next_attempt_at, last_error)
      select part.first_tick, part.last_tick, gap.state, gap.detected_at, gap.closed_at, gap.attempts,
             gap.next_attempt_at, gap.last_error
        from (values (gap.first_tick, low - 1), (above, gap.last_tick)) as part (first_tick, last_tick)
        where part.first_tick <= part.last_tick;
    with touching as (
      delete from ingest_gaps
        where state = p_state and detected_at = gap.detected_at and (last_tick = low - 1 or first_tick = above)
        returning first_tick, last_tick, attempts
    )
    update ingest_gaps
      set first_tick = least(low, (select min(t.first_tick) from touching t)),
          last_tick = greatest(high, (select max(t.last_tick) from touching t)),
          attempts = greatest(gap.attempts, (select max(t.attempts) from touching t)),
          state = p_state, closed_at = clock_timestamp(), next_attempt_at = null,
          last_error = coalesce(p_error, gap.last_error)
      where gap_id = gap.gap_id;
  end loop;
  return cut;
end
$$;

-- A part of a gap was asked for in vain and will be asked for again after p_wait_ms.
create or replace function ingest_tried_gap(p_first bigint, p_last bigint, p_error text, p_wait_ms bigint) returns void
language plpgsql volatile set search_path from current
as $$
begin
  perform ingest_lock_gaps();
  update ingest_gaps
    set attempts = attempts + 1, last_error = p_error,
        next_attempt_at = clock_timestamp() + p_wait_ms * interval '1 millisecond'
    where state = 'open' and first_tick between ingest_gap_floor(p_first) and p_last and last_tick >= p_first;
end
$$;

-- Called after the rows of a batch that fills gaps: frames without a usable number that stood where ticks of
-- [p_first, p_last] are stored now are resolved. The n-th such frame behind tick t stood for tick t + n; of a frame that
-- came in several forms only the first one counts so, hence the look at t + 1 as well. 256: more in a row are left open.
create or replace function ingest_resolve_dead_letters(p_first bigint, p_last bigint) returns void
language sql volatile set search_path from current
as $$
  with unnumbered as (
    select d.dead_letter_id, d.status, coalesce(d.after_tick, -1) as after_tick,
           row_number() over (partition by coalesce(d.after_tick, -1) order by d.dead_letter_id) as nth
      from dead_letters d
      where coalesce(d.tick_number, -1) = -1 and coalesce(d.after_tick, -1) between p_first - 256 and p_last - 1
  ), stands_for as (
    select dead_letter_id, after_tick + 1 as first_tick, after_tick + nth as tick_number
      from unnumbered
      where status = 'open' and after_tick <= 9223372036854775807 - nth
  )
  update dead_letters d set status = 'resolved', resolved_at = clock_timestamp()
    from stands_for s
    where s.dead_letter_id = d.dead_letter_id and s.tick_number >= p_first
      and exists (select from vdf_proofs v where v.tick_number = s.first_tick)
      and exists (select from vdf_proofs v where v.tick_number = s.tick_number)
$$;

-- Keeps a frame that cannot become rows, once: by its number (or the number before it) and the digest of its bytes.
create or replace function ingest_dead_letter(
  p_tick numeric, p_after bigint, p_reason text, p_detail text, p_sqlstate text, p_raw bytea, p_epoch bigint,
  p_stored_sha256 bytea default null
) returns void
language sql volatile set search_path from current
as $$
  insert into dead_letters (tick_number, after_tick, reason, detail, sqlstate, raw, raw_sha256, stored_sha256, epoch)
    values (p_tick, p_after, p_reason, p_detail, p_sqlstate, p_raw, sha256(p_raw), p_stored_sha256, p_epoch)
    on conflict do nothing
$$;

-- Compares both ends of a range that was just stored with their neighbours: its first tick with the output of the one
-- before, and the tick behind it with the output of its last one. What is not stored is not compared. Returns the ticks
-- whose link is broken and was not recorded before. Within a batch the parser has compared already.
create or replace function ingest_check_links(p_first bigint, p_last bigint, p_epoch bigint) returns setof bigint
language sql volatile set search_path from current
as $$
  insert into chain_alarms (tick_number, kind, detail, epoch)
    select t.tick_number, 'link',
           format('previous_output is ...%s (%s digits), the output of the tick before ...%s (%s digits)',
                  right(t.previous_output, 16), length(t.previous_output), right(p.output, 16), length(p.output)),
           p_epoch
      from ticks t
      join vdf_proofs p on p.tick_number = t.tick_number - 1
     -- the highest number has none behind it
     where t.tick_number in (p_first, case when p_last < 9223372036854775807 then p_last + 1 end)
       and lower(t.previous_output) <> lower(p.output)
    on conflict do nothing
    returning tick_number
$$;

-- One row, always. position: end of the contiguous prefix from origin over what is recorded (batches and gaps of any
-- state), null when origin is unknown or itself not recorded. complete_up_to: the same, but below the lowest open gap.
create or replace function ingest_position() returns table (origin bigint, "position" bigint, complete_up_to bigint)
language sql stable set search_path from current
as $$
  with start as (
    select (select s.origin from ingest_state s) as origin
  ), ranges as (
    select l.first_tick, l.last_tick from ingest_ledger l, start where l.last_tick >= start.origin
    union all
    select g.first_tick, g.last_tick from ingest_gaps g, start where g.last_tick >= start.origin
  ), walked as (
    -- first_tick - 1 instead of reach + 1: the highest number is 2^63-1
    select r.first_tick - 1 as before_first,
           coalesce(max(r.last_tick) over (order by r.first_tick rows between unbounded preceding and 1 preceding),
                    start.origin - 1) as reach
      from ranges r, start
  ), prefix as (
    -- the reach before the first hole, or all of it; below origin means that origin itself is not recorded
    select nullif(
             coalesce((select min(w.reach) from walked w where w.before_first > w.reach),
                      (select max(r.last_tick) from ranges r)),
             start.origin - 1) as "position"
      from start
  )
  select start.origin, prefix."position",
         -- least() passes over a null: without a position nothing is complete, whatever gap is open further up
         case when prefix."position" is not null then
           least(prefix."position",
                 (select min(g.first_tick) - 1 from ingest_gaps g where g.state = 'open' and g.last_tick >= start.origin))
         end as complete_up_to
    from start, prefix
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Views and functions for readers
-- ---------------------------------------------------------------------------------------------------------------------

create or replace view v_ticks_complete as
select t.tick_number,
       t."timestamp",
       t.batch_hash,
       coalesce(t.previous_output, p.output) as previous_output,
       v.input as vdf_input,
       v.output as vdf_output,
       v.proof as vdf_proof,
       v.iterations as vdf_iterations
  from ticks t
  join vdf_proofs v on v.tick_number = t.tick_number
  left join vdf_proofs p on p.tick_number = t.tick_number - 1;

-- By time and not by number: on a hypertable only the newest chunks are read then.
create or replace view v_recent_ticks as
select r.tick_number,
       r."timestamp",
       r.batch_hash,
       v.output as vdf_output,
       v.iterations as vdf_iterations,
       (select count(*) from tick_transactions x
         where x.tick_timestamp = r."timestamp" and x.tick_number = r.tick_number) as transaction_count
  from (select * from ticks order by "timestamp" desc, tick_number desc limit 100) r
  join vdf_proofs v on v.tick_number = r.tick_number
 order by r."timestamp" desc, r.tick_number desc;

-- tx_id_raw and timestamp_us are always filled here: the exact bytes and the exact microseconds, as they were hashed.
create or replace view v_transaction_details as
select x.tx_hash,
       x.tx_id,
       coalesce(x.tx_id_raw, convert_to(x.tx_id, 'UTF8')) as tx_id_raw,
       x.tick_number,
       x.sequence_number,
       x.tick_timestamp,
       t.batch_hash,
       x.payload,
       x.signature,
       x.public_key,
       x.nonce,
       x."timestamp",
       coalesce(x.timestamp_us, (extract(epoch from x."timestamp") * 1000000)::numeric(20, 0)) as timestamp_us,
       x.ingestion_timestamp
  from tick_transactions x
  join ticks t on t."timestamp" = x.tick_timestamp and t.tick_number = x.tick_number;

create or replace function get_tick_by_number(p_tick_number bigint) returns setof v_ticks_complete
language sql stable set search_path from current
as $$ select * from v_ticks_complete where tick_number = p_tick_number $$;

-- More than one row when the sequencer ordered the same transaction again.
create or replace function get_transaction_by_hash(p_tx_hash text) returns setof v_transaction_details
language sql stable set search_path from current
as $$ select * from v_transaction_details where tx_hash = p_tx_hash order by tick_number, sequence_number $$;

insert into schema_migrations (name) values ('001_create_tables.sql') on conflict (name) do nothing;

commit;
