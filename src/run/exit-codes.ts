/** What the programs end with; 0 is success, also after a signal that asked for the end. */

/** It failed, or what it checks is not in order. */
export const EXIT_FAILED = 1;
/** A mistake in the command line or the configuration. systemd does not restart on it: only an operator can mend it. */
export const EXIT_USAGE = 2;
/** Ended at once by a second signal: 128 + the signal's number, as a shell reports it. */
export const EXIT_SIGINT = 130;
export const EXIT_SIGTERM = 143;
