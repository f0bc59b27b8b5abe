-- Ticks of the webhook with their ranges, and the tokens of the API. Safe to apply twice; one transaction.
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

-- ---------------------------------------------------------------------------------------------------------------------
-- Ticks of POST /ingest/tick. Insert-only, as tick_data is: the same key with other content is a dead letter `conflict`. The
-- key serves the newest tick of a symbol, its newest thousand and a range of time; no other index is written. NaN is greater
-- than infinity to PostgreSQL, so "< 'Infinity'" refuses it too.
-- ---------------------------------------------------------------------------------------------------------------------

create table if not exists md_ticks (
  symbol text collate "C" not null,
  ts timestamptz not null,
  price numeric not null,
  volume numeric not null,
  source text collate "C" not null,
  seq bigint not null default 0,
  created_at timestamptz not null default now(),
  tx xid8 not null default pg_current_xact_id(),
  constraint md_ticks_pkey primary key (symbol, ts, source, seq),
  constraint md_ticks_symbol_check check (symbol = upper(symbol) and octet_length(symbol) between 1 and 128),
  constraint md_ticks_source_check check (octet_length(source) between 1 and 64),
  constraint md_ticks_price_check check (price > '-Infinity' and price < 'Infinity'),
  constraint md_ticks_volume_check check (volume >= 0 and volume < 'Infinity'),
  constraint md_ticks_seq_check check (seq >= 0)
);
comment on table md_ticks is 'ticks that came by the webhook: one row per symbol, time, source and seq';
comment on column md_ticks.price is 'exactly as it was sent, with its digits';
comment on column md_ticks.seq is 'tells ticks of one source and microsecond apart; 0 where none was sent';
comment on column md_ticks.tx is 'the transaction that wrote the row: what "new since" of exports rests on';

-- ---------------------------------------------------------------------------------------------------------------------
-- One row per symbol and minute that has ticks, recomputed from md_ticks by the transaction that adds some, under
-- pg_advisory_xact_lock(hashtext(symbol)). agg: open, high, low, close, volume (numbers with all their digits), count. Open and
-- close are the first and the last tick by (ts, source, seq). A minute that a wider window of somebody else covers gets none.
-- ---------------------------------------------------------------------------------------------------------------------

create table if not exists md_ranges (
  symbol text collate "C" not null,
  "window" tstzrange not null,
  agg jsonb not null,
  constraint md_ranges_pkey primary key (symbol, "window"),
  constraint md_ranges_symbol_check check (symbol = upper(symbol) and octet_length(symbol) between 1 and 128),
  constraint md_ranges_window_check
    check (not isempty("window") and not lower_inf("window") and not upper_inf("window")),
  constraint md_ranges_agg_check check (agg ?& array['open', 'high', 'low', 'close', 'volume', 'count'])
) with (fillfactor = 70);
comment on table md_ranges is 'what a symbol''s webhook ticks of each minute amount to';

set local client_min_messages = notice;

-- "What covers this time?", and no two windows of a symbol overlap: both by one GiST index over text and range, which needs
-- btree_gist (a trusted extension: CREATE on the database suffices). Without it the primary key still keeps a minute from
-- being there twice; this file adds the constraint when it is applied again.
do $$
begin
  if not exists (select from pg_extension where extname = 'btree_gist') then
    begin
      -- it belongs to the database: in a schema of ours it would go when that schema is dropped
      if exists (select from pg_namespace where nspname = 'public') then
        create extension btree_gist schema public;
      else
        create extension btree_gist;
      end if;
    exception
      when unique_violation or duplicate_object then
        null; -- another session was faster
      when insufficient_privilege or undefined_file or feature_not_supported then
        raise notice 'btree_gist is missing and cannot be created here (%): md_ranges has no constraint against overlapping windows. '
          'Run "create extension btree_gist" as a superuser (its files are in postgresql-contrib), then "mdp db migrate --again"', sqlerrm;
    end;
  end if;
  if exists (select from pg_extension where extname = 'btree_gist')
     and not exists (select from pg_constraint
                      where conrelid = 'md_ranges'::regclass and conname = 'md_ranges_symbol_window_gist') then
    alter table md_ranges add constraint md_ranges_symbol_window_gist
      exclude using gist (symbol with =, "window" with &&);
  end if;
end
$$;

set local client_min_messages = warning;

-- ---------------------------------------------------------------------------------------------------------------------
-- Tokens of the API. The token itself is kept nowhere: hash is the SHA-256 of its bytes.
-- ---------------------------------------------------------------------------------------------------------------------

create table if not exists api_tokens (
  id bigserial primary key,
  name text not null,
  hash bytea not null,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  constraint api_tokens_hash_key unique (hash),
  constraint api_tokens_name_check check (octet_length(name) between 1 and 128),
  constraint api_tokens_hash_check check (octet_length(hash) = 32),
  constraint api_tokens_scopes_check
    check (cardinality(scopes) > 0 and scopes <@ array['read', 'ingest', 'replay', 'export', 'admin'])
);
comment on table api_tokens is 'who may use the API: a token is valid until it expires or is revoked';
comment on column api_tokens.hash is 'SHA-256 of the token, which is shown once, when it is made';
comment on column api_tokens.expires_at is 'null: never';

insert into schema_hypertables (table_name, column_name, chunk_interval) values
  ('md_ticks', 'ts', interval '1 day')
  on conflict (table_name) do nothing;

set local client_min_messages = notice;

do $$
begin
  if schema_timescaledb() is not null then
    perform schema_make_hypertable('md_ticks', false);
  end if;
end
$$;

set local client_min_messages = warning;

insert into schema_migrations (name) values ('011_api.sql') on conflict (name) do nothing;

commit;
