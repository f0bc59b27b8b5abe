-- What an operator's own policies on the tables of the chain need (TimescaleDB, community edition). Safe to apply twice; one
-- transaction.
--
-- Nothing of the service needs it, so no stage waits for it.
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

-- "Now" of a table by tick number: the newest tick that is recorded. A policy on vdf_proofs counts from it, in ticks.
create or replace function ingest_newest_tick() returns bigint
language sql stable set search_path from current
as $$ select coalesce((select l.last_tick from ingest_ledger l order by l.first_tick desc limit 1), 0) $$;

-- 'set', 'present' (an operator's own function stays), or 'absent' where vdf_proofs is no hypertable. Also called when
-- "mdp db hypertables" converts it later.
create or replace function schema_set_integer_now() returns text
language plpgsql volatile set search_path from current
as $$
declare
  extension_schema name;
  present boolean;
begin
  select n.nspname into strict extension_schema
    from pg_extension e join pg_namespace n on n.oid = e.extnamespace
    where e.extname = 'timescaledb';
  select d.integer_now_func is not null into present
    from timescaledb_information.dimensions d
    where to_regclass(format('%I.%I', d.hypertable_schema, d.hypertable_name)) = 'vdf_proofs'::regclass;
  if present is null then
    return 'absent';
  elsif present then
    return 'present';
  end if;
  execute format('select %I.set_integer_now_func($1, $2)', extension_schema)
    using 'vdf_proofs'::regclass, 'ingest_newest_tick()'::regprocedure;
  return 'set';
end
$$;

set local client_min_messages = notice;

do $$
begin
  if schema_timescaledb() is not null then
    begin
      perform schema_set_integer_now();
    exception when insufficient_privilege or feature_not_supported or undefined_function or undefined_table or undefined_column then
      raise notice 'policies on vdf_proofs need set_integer_now_func: %', sqlerrm;
    end;
  end if;
end
$$;

set local client_min_messages = warning;

insert into schema_migrations (name) values ('009_policies.sql') on conflict (name) do nothing;

commit;
