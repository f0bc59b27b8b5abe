-- The live path: what changed since a snapshot of the database is found by the transaction of each row. Safe to apply twice; one
-- transaction.
--
-- stages: api

begin;
set local client_min_messages = warning;
do $$
begin
  perform pg_advisory_xact_lock(
    coalesce((select n.oid from pg_namespace n where n.nspname = current_schema()), 0)::bigint::bit(32)::int, 2);
end
$$;

-- Transactions rise, so these grow at their end alone. Neither table is ever compressed by us; of a hypertable each chunk has its
-- own, and all of them are looked into. tick_data has none: it is followed by the bus.
create index if not exists bars_ohlcv_tx_idx on bars_ohlcv (tx);
create index if not exists signals_tx_idx on signals (tx) where replay_run_id = 0;

insert into schema_migrations (name) values ('012_live.sql') on conflict (name) do nothing;

commit;
