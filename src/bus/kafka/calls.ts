import type {
  API, consumerGroupDescribeV0, consumerGroupHeartbeatV1, fetchV17, findCoordinatorV6, heartbeatV4,
  initProducerIdV5, joinGroupV9, leaveGroupV5, offsetCommitV9, produceV11, syncGroupV5,
} from '@platformatic/kafka'; // prettier-ignore

/** The requests that are made directly, in the shape of their newest version; the client has older ones in the same. */
interface Calls {
  ConsumerGroupDescribe: typeof consumerGroupDescribeV0.api;
  ConsumerGroupHeartbeat: typeof consumerGroupHeartbeatV1.api;
  Fetch: typeof fetchV17.api;
  FindCoordinator: typeof findCoordinatorV6.api;
  Heartbeat: typeof heartbeatV4.api;
  InitProducerId: typeof initProducerIdV5.api;
  JoinGroup: typeof joinGroupV9.api;
  LeaveGroup: typeof leaveGroupV5.api;
  OffsetCommit: typeof offsetCommitV9.api;
  Produce: typeof produceV11.api;
  SyncGroup: typeof syncGroupV5.api;
}

export type KafkaCall = keyof Calls;
export type Arguments<N extends KafkaCall> = Calls[N] extends API<infer A, unknown> ? A : never;
export type Answer<N extends KafkaCall> = Calls[N] extends API<infer _A, infer R> ? R : never;
