import type { TickRange } from '../../../core/ingest/ranges.ts';
import { MISSING_REASONS } from '../../../core/chain/verify/holes.ts';
import { FINDING_KINDS, type Finding, type FindingKind } from '../../../core/chain/verify/verify.ts';
import type { VdfMode, VerifyReport } from '../../../core/chain/verify/page.ts';
import { tableLines } from '../text.ts';

/** What is reported about a run of `verify`. */
export interface Verdict {
  range: TickRange;
  vdf: VdfMode;
  report: VerifyReport;
  seconds: number;
}

/** The lowest bad tick, with the first of its kinds. */
export function firstBad({ report }: Verdict): Finding | null {
  return report.findings[0] ?? null;
}

/** One line for stderr: the first bad tick, and where to look. */
export function firstBadLine({ tick, last, kind, detail }: Finding): string {
  const place = tick === last ? `tick ${tick}` : `ticks ${tick} to ${last}`;
  const look =
    kind === 'missing'
      ? 'tick-ingester status lists gaps and dead letters'
      : `get_tick_by_number(${tick}) in SQL shows what is stored`;
  return `first bad tick ${tick} (${kind}): ${place}: ${detail}; ${look}`;
}

/** One JSON object on one line: ticks are decimal strings, counts numbers. */
export function toJson(verdict: Verdict): string {
  const { range, report, seconds, vdf } = verdict;
  const shape = {
    ok: report.findings.length === 0,
    from: range.first.toString(),
    to: range.last.toString(),
    vdf: vdfText(vdf),
    ticks: report.ticks,
    transactions: report.transactions,
    vdf_outputs: report.vdfs,
    seconds: Number(seconds.toFixed(3)),
    ticks_per_second: rate(verdict),
    first_bad: jsonFinding(firstBad(verdict)),
    kinds: Object.fromEntries(
      FINDING_KINDS.map((kind) => [
        kind,
        { ticks: report.kinds[kind] ?? 0, first: jsonFinding(firstOf(report, kind)) },
      ]),
    ),
    missing: Object.fromEntries(MISSING_REASONS.map((reason) => [reason, report.missing[reason] ?? 0])),
    findings: report.findings.map(jsonFinding),
  };
  return `${JSON.stringify(shape)}\n`;
}

const COLUMNS = ['kind', 'ticks', 'first', 'what'].map((title) => ({ title, align: 'left' as const }));

export function toText(verdict: Verdict): string {
  const { range, report, seconds, vdf } = verdict;
  const lines = [
    `ticks ${range.first} to ${range.last}: verified ${report.ticks} ticks and ${report.transactions} transactions ` +
      `in ${seconds.toFixed(1)} s, ${rate(verdict)} ticks/s`,
    `VDF (${vdfText(vdf)}): ${report.vdfs} outputs recomputed`,
  ];
  if (report.findings.length === 0)
    return `${[...lines, 'nothing is missing, nothing is false'].join('\n')}\n`;
  const rows = FINDING_KINDS.flatMap((kind) => {
    const first = firstOf(report, kind);
    return first === null ? [] : [[kind, `${report.kinds[kind] ?? 0}`, `${first.tick}`, first.detail]];
  });
  const reasons = MISSING_REASONS.flatMap((reason) => {
    const count = report.missing[reason] ?? 0;
    return count === 0 ? [] : [`${reason} ${count}`];
  });
  lines.push('', ...tableLines(COLUMNS, rows));
  if (reasons.length > 0) lines.push('', `missing ticks by reason: ${reasons.join(', ')}`);
  return `${lines.join('\n')}\n`;
}

function rate({ report, seconds }: Verdict): number {
  return Math.round(report.ticks / Math.max(seconds, 0.001));
}

function vdfText(vdf: VdfMode): string {
  return vdf.kind === 'sample' ? `sample:${vdf.share}` : vdf.kind;
}

function firstOf({ findings }: VerifyReport, kind: FindingKind): Finding | null {
  return findings.find((finding) => finding.kind === kind) ?? null;
}

function jsonFinding(finding: Finding | null): Record<string, string> | null {
  if (finding === null) return null;
  const { tick, last, kind, detail } = finding;
  return { tick: tick.toString(), last: last.toString(), kind, detail };
}
