import { BusError, type BusErrorKind } from '../bus.ts';

/** Codes of Kafka's protocol that are used here (Kafka protocol guide, "Error Codes"). */
export const KafkaCode = {
  offsetOutOfRange: 1,
  unknownTopicOrPartition: 3,
  messageTooLarge: 10,
  coordinatorLoading: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  recordListTooLarge: 18,
  illegalGeneration: 22,
  unknownMemberId: 25,
  rebalanceInProgress: 27,
  topicAlreadyExists: 36,
  outOfOrderSequence: 45,
  invalidProducerEpoch: 47,
  unknownProducerId: 59,
  nonEmptyGroup: 68,
  groupIdNotFound: 69,
  memberIdRequired: 79,
  fencedInstanceId: 82,
  groupSubscribedToTopic: 86,
  producerFenced: 90,
  unknownTopicId: 100,
  fencedMemberEpoch: 110,
  staleMemberEpoch: 113,
} as const;

const REFUSED = new Set<number>([
  KafkaCode.messageTooLarge,
  KafkaCode.recordListTooLarge,
  32 /* INVALID_TIMESTAMP */,
  87 /* INVALID_RECORD */,
]);
const FULL = new Set([56 /* KAFKA_STORAGE_ERROR */, 89 /* THROTTLING_QUOTA_EXCEEDED */]);
const SETUP = new Set([
  17 /* INVALID_TOPIC_EXCEPTION */, 23 /* INCONSISTENT_GROUP_PROTOCOL */, 24 /* INVALID_GROUP_ID */,
  26 /* INVALID_SESSION_TIMEOUT */, 29 /* TOPIC_AUTHORIZATION_FAILED */, 30 /* GROUP_AUTHORIZATION_FAILED */,
  31 /* CLUSTER_AUTHORIZATION_FAILED */, 33 /* UNSUPPORTED_SASL_MECHANISM */, 34 /* ILLEGAL_SASL_STATE */,
  35 /* UNSUPPORTED_VERSION */, 37 /* INVALID_PARTITIONS */, 38 /* INVALID_REPLICATION_FACTOR */,
  40 /* INVALID_CONFIG */, 42 /* INVALID_REQUEST */, 44 /* POLICY_VIOLATION */, 54 /* SECURITY_DISABLED */,
  58 /* SASL_AUTHENTICATION_FAILED */, 81 /* GROUP_MAX_SIZE_REACHED */, 112 /* UNSUPPORTED_ASSIGNOR */,
]);
/** Codes of the client for errors that no retry changes. */
const SETUP_CLIENT = new Set(['PLT_KFK_AUTHENTICATION', 'PLT_KFK_UNSUPPORTED_API']);
/**
 * The client's code for a broker that wants TLS and for a topic that does not exist (yet, or on this broker): the first
 * shows when it connects for the first time, the second passes by itself.
 */
const CLIENT_USER = 'PLT_KFK_USER';
const CERTIFICATE = /^(CERT_|ERR_TLS_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT|UNABLE_TO_(GET|VERIFY)_)/;

interface Findings {
  kafka: Set<number>;
  client: Set<string>;
}

/** All codes in an error of the client, in the errors that it aggregates and in their causes. */
function findings(
  error: unknown,
  into: Findings = { kafka: new Set(), client: new Set() },
  depth = 0,
): Findings {
  if (typeof error !== 'object' || error === null || depth > 8) return into;
  const { apiCode, code, errors, cause } = error as Record<string, unknown>;
  if (typeof apiCode === 'number') into.kafka.add(apiCode);
  if (typeof code === 'string') into.client.add(code);
  if (Array.isArray(errors)) for (const inner of errors) findings(inner, into, depth + 1);
  findings(cause, into, depth + 1);
  return into;
}

/** The codes of Kafka's protocol in an error of the client. */
export function kafkaCodes(error: unknown): ReadonlySet<number> {
  return findings(error).kafka;
}

export function hasCode(error: unknown, ...codes: readonly number[]): boolean {
  const found = kafkaCodes(error);
  return codes.some((code) => found.has(code));
}

/** Anything unknown is taken to pass by itself: an election, a restart, a cut connection, a fault of the client. */
export function kindOf(error: unknown): BusErrorKind {
  if (error instanceof BusError) return error.kind;
  const { kafka, client } = findings(error);
  for (const code of kafka) {
    if (SETUP.has(code)) return 'setup';
    if (REFUSED.has(code)) return 'refused';
    if (FULL.has(code)) return 'full';
  }
  for (const code of client) {
    if (SETUP_CLIENT.has(code) || CERTIFICATE.test(code)) return 'setup';
  }
  return 'unreachable';
}

/** True when the brokers cannot be talked to as configured. @param error of a first request that names no topic */
export function isWrongAccess(error: unknown): boolean {
  return findings(error).client.has(CLIENT_USER);
}

export function busError(error: unknown, what: string): BusError {
  if (error instanceof BusError) return error;
  return new BusError(kindOf(error), `${what}: ${innermost(error)}`, error);
}

/** The client wraps errors: the message of the broker or the socket is the innermost. */
function innermost(error: unknown, depth = 0): string {
  if (!(error instanceof Error)) return String(error);
  const inner: unknown = error instanceof AggregateError ? error.errors.at(-1) : error.cause;
  return inner instanceof Error && depth < 8 ? innermost(inner, depth + 1) : error.message;
}
