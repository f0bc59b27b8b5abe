-- Which transaction wrote a bar that a correction replaced: what "as of" an earlier export rests on. Safe to apply twice; one
-- transaction.
--
-- stages: bars, api

begin;
set local client_min_messages = warning;
do $$
begin
  perform pg_advisory_xact_lock(
    coalesce((select n.oid from pg_namespace n where n.nspname = current_schema()), 0)::bigint::bit(32)::int, 2);
end
$$;

alter table bars_history add column if not exists written_tx xid8;
comment on column bars_history.written_tx is 'the transaction that wrote this version; null: before schema 014';

insert into schema_migrations (name) values ('014_export.sql') on conflict (name) do nothing;

commit;
