import type { TickRange } from '../../../core/ingest/ranges.ts';
import { formatMicros } from '../../../core/time.ts';
import type { RowFinding } from '../../../store/quality/page.ts';
import {
  MISSING_CAUSES,
  type Found,
  type MissingCause,
  type QualityReport,
} from '../../../store/quality/report.ts';
import { printable, tableLines, type TableColumn } from '../text.ts';

type Severity = 'problem' | 'information';

interface Wording {
  severity: Severity;
  text: string;
}

const MISSING: Readonly<Record<MissingCause, Wording>> = {
  open_gap: { severity: 'problem', text: 'missing: open gap' },
  dead_letter: { severity: 'problem', text: 'missing: open dead letter' },
  unexplained: { severity: 'problem', text: 'missing: unexplained' },
  not_recorded: { severity: 'problem', text: 'missing: not recorded' },
  unfillable_gap: { severity: 'information', text: 'missing: unfillable gap' },
  skipped_gap: { severity: 'information', text: 'missing: skipped gap' },
};

type Finding = RowFinding | 'stored_in_gap' | 'open_conflict';

const FINDINGS: Readonly<Record<Finding, Wording>> = {
  stored_in_gap: { severity: 'problem', text: 'tick stored inside a gap' },
  tick_twice: { severity: 'problem', text: 'tick stored twice' },
  transaction_twice: { severity: 'problem', text: 'transaction stored twice' },
  tick_without_proof: { severity: 'problem', text: 'tick without its proof' },
  proof_without_tick: { severity: 'problem', text: 'proof without its tick' },
  transaction_without_tick: { severity: 'problem', text: 'transaction without its tick' },
  link_broken: { severity: 'problem', text: 'link broken' },
  link_unknown: { severity: 'problem', text: 'link cannot be told' },
  tx_hash: { severity: 'problem', text: 'tx_hash wrong' },
  batch_hash: { severity: 'problem', text: 'batch_hash wrong' },
  vdf_input: { severity: 'problem', text: 'vdf_input wrong' },
  open_conflict: { severity: 'problem', text: 'open conflict' },
  time_backwards: { severity: 'information', text: 'timestamp before that of n-1' },
};

const FINDING_ORDER = Object.keys(FINDINGS) as Finding[];
const HASHES: ReadonlySet<Finding> = new Set(['tx_hash', 'batch_hash', 'vdf_input'] as const);
const RANGES_SHOWN = 5;
/** in the JSON */
const RANGES_LISTED = 1000;
const NONE: Found = { count: 0, first: [] };

/** Names of the problems that make the exit code 1, as in the JSON. */
export function problemsOf(report: QualityReport): string[] {
  return [
    ...MISSING_CAUSES.filter(
      (cause) => MISSING[cause].severity === 'problem' && ticksOf(report, cause) > 0n,
    ).map((cause) => `missing.${cause}`),
    ...FINDING_ORDER.filter(
      (name) => FINDINGS[name].severity === 'problem' && foundOf(report, name).count > 0,
    ).map((name) => `findings.${name}`),
    ...[...report.alarms.keys()].map((kind) => `chain_alarms.${kind}`),
  ];
}

function ticksOf(report: QualityReport, cause: MissingCause): bigint {
  return report.missing.get(cause)?.count() ?? 0n;
}

function foundOf(report: QualityReport, name: Finding): Found {
  if (name === 'stored_in_gap') return report.storedInGap;
  if (name === 'open_conflict') return openConflicts(report);
  return report.rows.get(name) ?? NONE;
}

function openConflicts({ deadLetters }: QualityReport): Found {
  return (
    deadLetters.find(
      ({ reason, status, numbered }) => reason === 'conflict' && status === 'open' && numbered,
    ) ?? NONE
  );
}

/** Tick numbers, and tick counts that can be as large, are strings; row counts are numbers. */
export function qualityJson(report: QualityReport): Record<string, unknown> {
  const problems = problemsOf(report);
  return {
    ok: problems.length === 0,
    problems,
    chain_id: report.chainId,
    range: report.range === null ? null : rangeJson(report.range),
    times:
      report.times === null
        ? null
        : { first: formatMicros(report.times.first), last: formatMicros(report.times.last) },
    origin: `${report.origin}`,
    position: `${report.position}`,
    complete_up_to: report.completeUpTo?.toString() ?? null,
    floor: report.floor?.toString() ?? null,
    expected: `${report.expected}`,
    stored: `${report.stored}`,
    transactions: report.transactions,
    missing: Object.fromEntries(
      MISSING_CAUSES.map((cause) => [
        cause,
        {
          severity: MISSING[cause].severity,
          ticks: `${ticksOf(report, cause)}`,
          ranges: report.missing.get(cause)?.size ?? 0,
          first: (report.missing.get(cause)?.list() ?? []).slice(0, RANGES_LISTED).map(rangeJson),
        },
      ]),
    ),
    hashes: report.hashes,
    findings: Object.fromEntries(
      FINDING_ORDER.filter((name) => report.hashes || !HASHES.has(name)).map((name) => [
        name,
        { severity: FINDINGS[name].severity, ...foundJson(foundOf(report, name)) },
      ]),
    ),
    chain_alarms: Object.fromEntries(
      [...report.alarms].map(([kind, found]) => [kind, { severity: 'problem', ...foundJson(found) }]),
    ),
    dead_letters: report.deadLetters.map(({ reason, status, numbered, ...found }) => ({
      reason,
      status,
      numbered,
      ...foundJson(found),
    })),
  };
}

function rangeJson({ first, last }: TickRange): object {
  return { first: `${first}`, last: `${last}` };
}

function foundJson({ count, first }: Found): object {
  return { count, first: first.map(String) };
}

const COLUMNS: readonly TableColumn[] = [
  { title: 'finding', align: 'left' },
  { title: 'count', align: 'right' },
  { title: 'verdict', align: 'left' },
  { title: 'first', align: 'left' },
];

const LETTER_COLUMNS: readonly TableColumn[] = [
  { title: 'dead letters', align: 'left' },
  { title: 'count', align: 'right' },
  { title: 'status', align: 'left' },
  { title: 'first', align: 'left' },
];

export function qualityLines(report: QualityReport): string[] {
  const { range, times, deadLetters } = report;
  const facts: [string, string][] = [
    ['chain', report.chainId],
    ['range', range === null ? 'no tick lies in it' : `${range.first} to ${range.last}`],
    [
      'recorded',
      `${report.origin} to ${report.position}, complete up to ${report.completeUpTo ?? 'nothing yet'}`,
    ],
    ...(report.floor === null
      ? []
      : [['kept', `from ${report.floor} on; what is below was dropped by retention`] as [string, string]]),
    ['times', times === null ? 'none' : `${formatMicros(times.first)} to ${formatMicros(times.last)}`],
    ['expected', `${report.expected} ticks`],
    ['stored', `${report.stored} ticks, ${report.transactions} transactions`],
    ['hashes', report.hashes ? 'recomputed; VDF outputs by "tick-ingester verify"' : 'not recomputed'],
  ];
  const problems = problemsOf(report).length;
  return [
    ...facts.map(([name, value]) => `${name.padEnd(9)} ${printable(value)}`),
    '',
    ...tableLines(COLUMNS, [...missingRows(report), ...findingRows(report), ...alarmRows(report)]),
    ...(deadLetters.length === 0 ? [] : ['', ...tableLines(LETTER_COLUMNS, letterRows(report))]),
    '',
    problems === 0 ? 'good: no problem found' : `${problems} problem${problems === 1 ? '' : 's'} found`,
  ];
}

function missingRows(report: QualityReport): string[][] {
  return MISSING_CAUSES.map((cause) => {
    const ranges = report.missing.get(cause)?.list() ?? [];
    const shown = ranges
      .slice(0, RANGES_SHOWN)
      .map(({ first, last }) => (first === last ? `${first}` : `${first}..${last}`));
    const ticks = ticksOf(report, cause);
    const more = ranges.length > RANGES_SHOWN ? ` and ${ranges.length - RANGES_SHOWN} more` : '';
    const { severity, text } = MISSING[cause];
    return [text, `${ticks}`, verdict(severity, ticks > 0n), `${shown.join(', ')}${more}`];
  });
}

function findingRows(report: QualityReport): string[][] {
  return FINDING_ORDER.filter((name) => report.hashes || !HASHES.has(name)).map((name) => {
    const { severity, text } = FINDINGS[name];
    return foundRow(text, severity, foundOf(report, name));
  });
}

function alarmRows(report: QualityReport): string[][] {
  if (report.alarms.size === 0) return [foundRow('alarm of CHAIN_CHECK', 'problem', NONE)];
  return [...report.alarms].map(([kind, found]) =>
    foundRow(`alarm of CHAIN_CHECK: ${kind}`, 'problem', found),
  );
}

function foundRow(text: string, severity: Severity, { count, first }: Found): string[] {
  return [text, `${count}`, verdict(severity, count > 0), examples(count, first)];
}

function verdict(severity: Severity, isFound: boolean): string {
  if (!isFound) return 'ok';
  return severity === 'problem' ? 'PROBLEM' : 'information';
}

function letterRows({ deadLetters }: QualityReport): string[][] {
  return deadLetters.map(({ reason, status, numbered, count, first }) => [
    printable(numbered ? reason : `${reason} (no usable number)`),
    `${count}`,
    status,
    examples(count, first),
  ]);
}

function examples(count: number, first: readonly bigint[]): string {
  return `${first.join(', ')}${count > first.length && first.length > 0 ? ' …' : ''}`;
}
