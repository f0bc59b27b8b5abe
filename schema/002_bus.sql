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

-- Over how many partitions the keys of a topic are spread: the same number in every process, or symbols would be split.
create table if not exists bus_topics (
  topic text not null,
  partitions int not null,
  constraint bus_topics_pkey primary key (topic),
  constraint bus_topics_partitions_positive check (partitions > 0)
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

-- Where a log ended at which time by this clock: the age of what lies on the bus, whatever its ids and timestamps say, through
-- restarts. log names the log that the position belongs to.
create table if not exists bus_log_ends (
  topic text not null,
  partition int not null,
  log text not null,
  "position" text not null,
  seen_at timestamptz not null default clock_timestamp(),
  constraint bus_log_ends_pkey primary key (topic, partition, seen_at)
);

-- Members of groups; one that does not renew is gone. session, seen_at and alive_since are of the postgres bus's groups whose
-- members share all partitions (schema/003); null: a member that owns whole partitions.
create table if not exists bus_members (
  topic text not null,
  group_name text not null,
  member text not null,
  expires_at timestamptz not null,
  session bigint,
  seen_at timestamptz,
  alive_since timestamptz,
  constraint bus_members_pkey primary key (topic, group_name, member)
) with (fillfactor = 10);
comment on column bus_members.session is 'tells one life of a member from another one under its name';
comment on column bus_members.alive_since is
  'no long silence since then: after one (its own, or the server stood still) it takes nobody for dead at once';

-- Lease and epoch of a partition. The lease is renewed every second: its row is no part of the roles' transactions, and room
-- on the page keeps those updates heap-only. fence is the second key of the partition's advisory lock.
create table if not exists bus_partitions (
  topic text not null,
  group_name text not null,
  partition int not null,
  epoch bigint not null default 0,
  holder text,
  lease_expires_at timestamptz,
  fence int generated always as identity,
  constraint bus_partitions_pkey primary key (topic, group_name, partition)
) with (fillfactor = 10);

-- How far a role is with a partition: a row of its own, written in the transaction of what the role made of it.
create table if not exists bus_positions (
  topic text not null,
  group_name text not null,
  partition int not null,
  "position" text not null,
  updated_at timestamptz not null default clock_timestamp(),
  constraint bus_positions_pkey primary key (topic, group_name, partition)
) with (fillfactor = 10);

-- The first key of the partitions' fences. Advisory locks belong to the database: the oid keeps two schemas apart. Oids
-- exceed 2^31, so the bits are kept and the sign is not.
create or replace function bus_fence_key() returns int
language sql stable set search_path from current
as $$ select ('bus_partitions'::regclass)::oid::bigint::bit(32)::int $$;

-- A role commits its position with this, first in the transaction of its rows: from here to the end of that transaction the
-- partition cannot be taken over. READ COMMITTED is required: the epoch must be read by a snapshot taken after the lock was
-- granted, or an owner that was replaced would still see its own. Raises MDF01 when it was replaced.
create or replace function bus_commit_position(
  p_topic text, p_group text, p_partition int, p_epoch bigint, p_position text
) returns void
language plpgsql volatile set search_path from current
as $$
declare
  fence_key int;
  current_epoch bigint;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'bus_commit_position needs READ COMMITTED, not %', current_setting('transaction_isolation')
      using errcode = 'invalid_transaction_state';
  end if;
  select b.fence into fence_key
    from bus_partitions b where b.topic = p_topic and b.group_name = p_group and b.partition = p_partition;
  perform pg_advisory_xact_lock_shared(bus_fence_key(), fence_key);
  select b.epoch into current_epoch
    from bus_partitions b where b.topic = p_topic and b.group_name = p_group and b.partition = p_partition;
  if current_epoch is distinct from p_epoch then
    raise exception 'partition % of % was taken over in group %: epoch %, now %', p_partition, p_topic, p_group, p_epoch,
      coalesce(current_epoch::text, 'none')
      using errcode = 'MDF01';
  end if;
  insert into bus_positions (topic, group_name, partition, "position")
    values (p_topic, p_group, p_partition, p_position)
    on conflict (topic, group_name, partition) do update
      set "position" = excluded."position", updated_at = excluded.updated_at;
end
$$;

insert into schema_migrations (name) values ('002_bus.sql') on conflict (name) do nothing;

commit;
