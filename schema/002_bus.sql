-- The stream bus, whichever it is: groups, what they acknowledged, who owns which partition and how far it is. These rows
-- are in Postgres for redis, kafka and postgres alike, because a position is true only in the transaction of what it led
-- to. Safe to apply twice; one transaction.
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

-- One group per role: a group that another role uses is refused.
create table if not exists bus_groups (
  topic text not null,
  group_name text not null,
  role text not null,
  created_at timestamptz not null default now(),
  constraint bus_groups_pkey primary key (topic, group_name)
);

-- How far a group has acknowledged, some seconds behind the bus itself: where a group that vanished from the bus is made
-- again. start_count counts how often work began at start_position.
create table if not exists bus_marks (
  topic text not null,
  group_name text not null,
  partition int not null,
  acknowledged text,
  start_position text,
  start_count int not null default 0,
  updated_at timestamptz not null default now(),
  constraint bus_marks_pkey primary key (topic, group_name, partition)
);

-- Members of the groups whose members own whole partitions; a member that does not renew is gone.
create table if not exists bus_members (
  topic text not null,
  group_name text not null,
  member text not null,
  expires_at timestamptz not null,
  constraint bus_members_pkey primary key (topic, group_name, member)
);

-- Lease, epoch and position of a partition. A role commits its position with bus_commit_position() in the transaction of
-- its rows: the epoch refuses a member that was replaced.
create table if not exists bus_partitions (
  topic text not null,
  group_name text not null,
  partition int not null,
  epoch bigint not null default 0,
  holder text,
  lease_expires_at timestamptz,
  "position" text,
  updated_at timestamptz not null default now(),
  constraint bus_partitions_pkey primary key (topic, group_name, partition)
);

insert into schema_migrations (name) values ('002_bus.sql') on conflict (name) do nothing;

commit;
