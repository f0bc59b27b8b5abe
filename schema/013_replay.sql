-- Replays of stored ticks: how far each run is and who runs it, and the schedules that start them. Safe to apply twice; one
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

-- A row for each run; its status, counts and times are its row of job_runs (job tick_replay). Whoever holds the lease, by the
-- database's clock, runs it and stores every second how far it is: another one goes on from there when the lease has expired.
create table if not exists replay_runs (
  run_id bigint primary key references job_runs (id) on delete cascade,
  -- what is replayed, as the API takes it
  request jsonb not null,
  -- may be changed while it runs; 0: as fast as the bus takes it
  speed double precision not null,
  -- false: it has ended
  is_open boolean not null default true,
  holder text,
  -- rises with each holder: one that was replaced stores nothing
  epoch bigint not null default 0,
  expires_at timestamptz,
  -- what was committed when it began: rows that came later are no part of it
  snapshot text,
  -- the last tick that is on the bus; null: none is
  "position" jsonb,
  -- how far event time had come; null: to the first tick
  playhead timestamptz,
  emitted bigint not null default 0,
  -- of the SHA-256 over what was emitted up to the position, to go on with
  digest_state bytea,
  -- where to go on instead of behind the position; done when both numbers are equal
  seek_to timestamptz,
  seeks int not null default 0,
  seeks_done int not null default 0,
  schedule_id bigint,
  constraint replay_runs_speed_check check (speed >= 0 and speed < 'Infinity')
) with (fillfactor = 50);
create index if not exists replay_runs_open_idx on replay_runs (run_id) where is_open;
comment on table replay_runs is 'replays of stored ticks: how far each run is, and who runs it';

create table if not exists replay_schedules (
  id bigserial primary key,
  name text not null,
  cron text not null,
  timezone text not null default 'UTC',
  -- as of replay_runs, with "last" (a duration that ends when it is due) in place of start and end
  request jsonb not null,
  is_enabled boolean not null default true,
  -- null: never again
  next_at timestamptz,
  last_at timestamptz,
  last_run_id bigint,
  created_at timestamptz not null default clock_timestamp(),
  constraint replay_schedules_name_key unique (name),
  constraint replay_schedules_name_check check (octet_length(name) between 1 and 128)
);
comment on table replay_schedules is 'replays that are started at the times of a cron expression';

insert into schema_migrations (name) values ('013_replay.sql') on conflict (name) do nothing;

commit;
