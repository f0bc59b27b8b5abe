/** `mdp stream signals` and `mdp stream infer`, and their groups. */
export const GROUPS = { signals: 'signal-consumer', infer: 'mdp-inference' } as const;

export type SignalRole = keyof typeof GROUPS;
