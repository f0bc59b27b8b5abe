import { MISSING_TEXT, type MissingRange, type MissingReason } from './holes.ts';
import type { TickPage } from '../tick-page.ts';
import { verifyTick, type Finding, type FindingKind } from './verify.ts';

/** Which outputs are recomputed; `share` of all ticks in (0, 1]. */
export type VdfMode = { kind: 'all' } | { kind: 'off' } | { kind: 'sample'; share: number };

/** The result for a range of ticks. Counts are of ticks unless they say otherwise. */
export interface VerifyReport {
  /** whose rows are all there; each of their formulas was looked at */
  ticks: number;
  transactions: number;
  /** outputs that were recomputed */
  vdfs: number;
  /** how many ticks have a finding of a kind */
  kinds: Partial<Record<FindingKind, number>>;
  /** missing ticks of which nothing is stored, by what the store says of them */
  missing: Partial<Record<MissingReason, number>>;
  /** the first FINDINGS_KEPT in the order of the ticks, and the first of each kind whatever its place */
  findings: Finding[];
}

/** A chain that is wrong throughout must not fill the memory. */
export const FINDINGS_KEPT = 100;

export function emptyReport(): VerifyReport {
  return { ticks: 0, transactions: 0, vdfs: 0, kinds: {}, missing: {}, findings: [] };
}

/**
 * Verifies every tick of a page. Holes are the caller's to report: only the store knows about them.
 * @param floor what lies below is not looked at
 */
export function verifyPage(page: TickPage, vdf: VdfMode, floor: bigint = page.first): VerifyReport {
  const report = emptyReport();
  const from = floor > page.first ? Number(floor - page.first) : 0;
  for (let slot = from; slot < page.size; slot++) {
    const number = page.first + BigInt(slot);
    if (page.isComplete(slot)) {
      const withVdf = isSampled(number, vdf);
      report.ticks += 1;
      report.transactions += page.transactionCount(slot);
      if (withVdf) report.vdfs += 1;
      addFindings(report, verifyTick(page.tick(slot), page.outputBefore(slot), withVdf));
      continue;
    }
    const detail = page.incomplete(slot);
    if (detail !== null) addFindings(report, [{ tick: number, last: number, kind: 'missing', detail }]);
  }
  trim(report);
  return report;
}

/** Ticks of which nothing is stored. */
export function addMissing(report: VerifyReport, ranges: readonly MissingRange[]): void {
  for (const { first, last, cause } of ranges) {
    const count = Number(last - first + 1n);
    report.missing[cause] = (report.missing[cause] ?? 0) + count;
    report.kinds.missing = (report.kinds.missing ?? 0) + count;
    report.findings.push({ tick: first, last, kind: 'missing', detail: MISSING_TEXT[cause] });
  }
  trim(report);
}

/** Adds the result of another range. */
export function addReport(sum: VerifyReport, more: VerifyReport): void {
  sum.ticks += more.ticks;
  sum.transactions += more.transactions;
  sum.vdfs += more.vdfs;
  addCounts(sum.kinds, more.kinds);
  addCounts(sum.missing, more.missing);
  if (more.findings.length === 0) return;
  sum.findings.push(...more.findings);
  trim(sum);
}

/** Whether a tick is of the sample: a function of its number alone, so that a run can be repeated and continued. */
export function isSampled(tickNumber: bigint, vdf: VdfMode): boolean {
  if (vdf.kind !== 'sample') return vdf.kind === 'all';
  const low = Number(BigInt.asUintN(32, tickNumber));
  const high = Number(BigInt.asUintN(32, tickNumber >> 32n));
  return mix(mix(low) ^ high) < vdf.share * 2 ** 32;
}

/** The finalizer of murmur3: neighbours fall far apart. */
function mix(value: number): number {
  let h = value + 0x9e37_79b9;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function addFindings(report: VerifyReport, findings: readonly Finding[]): void {
  for (const finding of findings) {
    const { kind } = finding;
    const count = (report.kinds[kind] ?? 0) + 1;
    report.kinds[kind] = count;
    if (count === 1 || report.findings.length < FINDINGS_KEPT) report.findings.push(finding);
  }
}

function addCounts<K extends string>(
  sum: Partial<Record<K, number>>,
  more: Partial<Record<K, number>>,
): void {
  for (const [kind, count] of Object.entries(more) as [K, number][]) sum[kind] = (sum[kind] ?? 0) + count;
}

function trim(report: VerifyReport): void {
  const inOrder = report.findings.sort((a, b) => (a.tick < b.tick ? -1 : a.tick > b.tick ? 1 : 0));
  const seen = new Set<FindingKind>();
  report.findings = inOrder.filter(({ kind }, at) => {
    const isFirst = !seen.has(kind);
    seen.add(kind);
    return isFirst || at < FINDINGS_KEPT;
  });
}
