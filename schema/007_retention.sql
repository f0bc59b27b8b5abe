-- How far the past was dropped on purpose. Needed where a variable RETENTION_* is set. Safe to apply twice; one
-- transaction.
--
-- stages: retention

begin;
set local client_min_messages = warning;
do $$
begin
  perform pg_advisory_xact_lock(
    coalesce((select n.oid from pg_namespace n where n.nspname = current_schema()), 0)::bigint::bit(32)::int, 2);
end
$$;

-- Written before anything is dropped, so that whoever misses rows below it knows why. It never goes down. The chain
-- (name 'chain': ticks, vdf_proofs, tick_transactions) is cut at a tick, every other table at a time.
create table if not exists retention_floors (
  name text primary key,
  tick_number bigint,
  ts timestamptz,
  updated_at timestamptz not null default now(),
  check (num_nonnulls(tick_number, ts) = 1)
);
comment on table retention_floors is 'what lies below is gone, or about to go, and is not missing';

insert into schema_migrations (name) values ('007_retention.sql') on conflict (name) do nothing;

commit;
