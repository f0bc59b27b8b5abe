-- Looking up a tick by its number where the tables are hypertables by time: views, getters and functions of schema/001
-- again, so that they read the chunks that can hold it and no others, compressed ones too. Safe to apply twice; one
-- transaction. On plain tables they do what they did.
--
-- Without this file everything works as before, only slower; so no stage waits for it.
--
-- stages: none

begin;
set local client_min_messages = warning;
do $$
begin
  perform pg_advisory_xact_lock(
    coalesce((select n.oid from pg_namespace n where n.nspname = current_schema()), 0)::bigint::bit(32)::int, 2);
end
$$;

-- Times between which the ticks of [p_first, p_last] lie, half-open: the bounds of chunks. Without them a query by number
-- locks and plans every chunk, an index of each. Numbers and times rise together, so a binary search finds the chunks, with
-- a look at the lowest number of some; a chunk more on either side allows for times that go backwards for less than that. A
-- chain whose times jump further is not found within the bounds: whoever knows that a tick is there (its proof is stored)
-- and does not find it looks again without them. Infinite on plain tables, and where there are few chunks.
create or replace function chain_times(p_first bigint, p_last bigint, out from_time timestamptz, out to_time timestamptz)
language plpgsql stable set search_path from current set jit = off
as $$
declare
  -- the bounds of the chunks in their order
  starts timestamptz[];
  ends timestamptz[];
  low int;
  high int;
  middle int;
  probe int;
  lowest bigint;
  wanted bigint;
begin
  from_time := '-infinity';
  to_time := 'infinity';
  -- the library defines it: without that, what the extension has in its catalog cannot be read
  if coalesce(current_setting('timescaledb.license', true), '') = ''
     or not exists (select from pg_extension where extname = 'timescaledb') then
    return;
  end if;
  select array_agg(_timescaledb_functions.to_timestamp(s.range_start) order by s.range_start),
         array_agg(_timescaledb_functions.to_timestamp(s.range_end) order by s.range_start)
    into starts, ends
    from _timescaledb_catalog.hypertable h
    join _timescaledb_catalog.dimension d on d.hypertable_id = h.id
    join _timescaledb_catalog.dimension_slice s on s.dimension_id = d.id
    join pg_class c on c.oid = 'ticks'::regclass
    join pg_namespace n on n.oid = c.relnamespace
   where h.table_name = 'ticks' and h.schema_name = n.nspname and d.column_name = 'timestamp';
  -- three would be read anyway
  if coalesce(cardinality(starts), 0) <= 3 then
    return;
  end if;
  -- for each end: the last chunk whose lowest number is not above it
  low := 1;
  foreach wanted in array array[p_first, p_last] loop
    high := cardinality(starts);
    while low < high loop
      middle := (low + high + 1) / 2;
      -- a chunk may be empty
      probe := middle;
      lowest := null;
      while probe <= high and lowest is null loop
        execute 'select min(tick_number) from ticks where "timestamp" >= $1 and "timestamp" < $2'
          into lowest using starts[probe], ends[probe];
        probe := probe + 1;
      end loop;
      if lowest <= wanted then
        low := probe - 1;
      else
        high := middle - 1;
      end if;
    end loop;
    if wanted = p_first and from_time = '-infinity' and low > 2 then
      from_time := starts[low - 1];
    end if;
  end loop;
  if low + 1 < cardinality(starts) then
    to_time := ends[low + 1];
  end if;
end
$$;

-- The output of the tick before by a subquery and not by a join: it is asked for by number, so one chunk is read, and of a
-- compressed one the rows around that number. A join reads all of the table there. Where the whole chain is read at once a
-- join of one's own is the better way.
create or replace view v_ticks_complete as
select t.tick_number,
       t."timestamp",
       t.batch_hash,
       coalesce(t.previous_output,
                (select p.output from vdf_proofs p where p.tick_number = t.tick_number - 1)) as previous_output,
       v.input as vdf_input,
       v.output as vdf_output,
       v.proof as vdf_proof,
       v.iterations as vdf_iterations
  from ticks t
  join vdf_proofs v on v.tick_number = t.tick_number;

-- By time and not by number: on a hypertable only the newest chunks are read then; of proofs and transactions those around
-- them. Bounds and not a lookup for each row: its cost, as the planner sees it, would have the statement compiled for a second.
create or replace view v_recent_ticks as
with recent as materialized (
  select tick_number, "timestamp", batch_hash from ticks order by "timestamp" desc, tick_number desc limit 100
), ends as materialized (
  select min(tick_number) as first, max(tick_number) as last, min("timestamp") as from_time, max("timestamp") as to_time
    from recent
), counted as (
  select x.tick_timestamp, x.tick_number, count(*) as transactions
    from tick_transactions x
   where x.tick_timestamp >= (select from_time from ends) and x.tick_timestamp <= (select to_time from ends)
   group by x.tick_timestamp, x.tick_number
)
select r.tick_number,
       r."timestamp",
       r.batch_hash,
       v.output as vdf_output,
       v.iterations as vdf_iterations,
       coalesce(c.transactions, 0) as transaction_count
  from recent r
  join vdf_proofs v on v.tick_number = r.tick_number
   and v.tick_number >= (select first from ends) and v.tick_number <= (select last from ends)
  left join counted c on c.tick_timestamp = r."timestamp" and c.tick_number = r.tick_number
 order by r."timestamp" desc, r.tick_number desc;

-- "execute" plans for the very number and times: only then does the planner see which chunks they are in.
create or replace function get_tick_by_number(p_tick_number bigint) returns setof v_ticks_complete
language plpgsql stable set search_path from current set jit = off
as $$
declare
  within record;
begin
  if not exists (select from vdf_proofs v where v.tick_number = p_tick_number) then
    return;
  end if;
  select * into within from chain_times(p_tick_number, p_tick_number);
  return query execute
    'select * from v_ticks_complete where tick_number = $1 and "timestamp" >= $2 and "timestamp" < $3'
    using p_tick_number, within.from_time, within.to_time;
  if not found then
    return query execute 'select * from v_ticks_complete where tick_number = $1' using p_tick_number;
  end if;
end
$$;

-- More than one row when the sequencer ordered the same transaction again. A hash says nothing of the time, so every chunk
-- of transactions is asked; of ticks only those that it was found in.
create or replace function get_transaction_by_hash(p_tx_hash text) returns setof v_transaction_details
language plpgsql stable set search_path from current set jit = off
as $$
declare
  at record;
begin
  for at in
    select distinct x.tick_number, x.tick_timestamp from tick_transactions x where x.tx_hash = p_tx_hash
      order by x.tick_number, x.tick_timestamp
  loop
    return query execute
      'select * from v_transaction_details
        where tx_hash = $1 and tick_number = $2 and tick_timestamp = $3 order by sequence_number'
      using p_tx_hash, at.tick_number, at.tick_timestamp;
  end loop;
end
$$;

-- Compares both ends of a range that was just stored with their neighbours: its first tick with the output of the one
-- before, and the tick behind it with the output of its last one. What is not stored is not compared. Returns the ticks
-- whose link is broken and was not recorded before. Within a batch the parser has compared already.
create or replace function ingest_check_links(p_first bigint, p_last bigint, p_epoch bigint) returns setof bigint
language plpgsql volatile set search_path from current set jit = off
as $$
declare
  -- the highest number has none behind it
  numbers constant bigint[] := array[p_first, case when p_last < 9223372036854775807 then p_last + 1 end];
  checked bigint;
  previous text;
  within record;
  linked ticks;
begin
  foreach checked in array numbers loop
    select p.output into previous from vdf_proofs p where p.tick_number = checked - 1;
    continue when not found or not exists (select from vdf_proofs v where v.tick_number = checked);
    if within is null then
      select * into within from chain_times(p_first, coalesce(numbers[2], p_last));
    end if;
    execute 'select * from ticks where tick_number = $1 and "timestamp" >= $2 and "timestamp" < $3'
      into linked using checked, within.from_time, within.to_time;
    if linked.tick_number is null then
      execute 'select * from ticks where tick_number = $1' into linked using checked;
    end if;
    if lower(linked.previous_output) <> lower(previous) then
      insert into chain_alarms (tick_number, kind, detail, epoch)
        values (checked, 'link',
                format('previous_output is ...%s (%s digits), the output of the tick before ...%s (%s digits)',
                       right(linked.previous_output, 16), length(linked.previous_output), right(previous, 16), length(previous)),
                p_epoch)
        on conflict do nothing;
      if found then
        return next checked;
      end if;
    end if;
  end loop;
end
$$;

-- Called after the rows of a batch that fills gaps: frames without a usable number that stood where ticks of
-- [p_first, p_last] are stored now are resolved. The n-th such frame behind tick t stood for tick t + n; of a frame that
-- came in several forms only the first one counts so, hence the look at t + 1 as well. 256: more in a row are left open.
create or replace function ingest_resolve_dead_letters(p_first bigint, p_last bigint) returns void
language plpgsql volatile set search_path from current set jit = off
as $$
begin
  with unnumbered as (
    select d.dead_letter_id, d.status, coalesce(d.after_tick, -1) as after_tick,
           row_number() over (partition by coalesce(d.after_tick, -1) order by d.dead_letter_id) as nth
      from dead_letters d
      where coalesce(d.tick_number, -1) = -1 and coalesce(d.after_tick, -1) between p_first - 256 and p_last - 1
  ), stands_for as (
    select dead_letter_id, after_tick + 1 as first_tick, after_tick + nth as tick_number
      from unnumbered
      where status = 'open' and after_tick <= 9223372036854775807 - nth
  ), stored as materialized (
    -- the numbers that the frames above can stand for, as constants
    select v.tick_number from vdf_proofs v
      where v.tick_number >= p_first - 256 and v.tick_number <= least(p_last, 9223372036854775807 - 256) + 256
        and exists (select from stands_for)
  )
  update dead_letters d set status = 'resolved', resolved_at = clock_timestamp()
    from stands_for s
    where s.dead_letter_id = d.dead_letter_id and s.tick_number >= p_first
      and exists (select from stored v where v.tick_number = s.first_tick)
      and exists (select from stored v where v.tick_number = s.tick_number);
end
$$;

insert into schema_migrations (name) values ('008_chunk_bounds.sql') on conflict (name) do nothing;

commit;
