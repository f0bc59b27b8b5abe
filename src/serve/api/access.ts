/** Who may do what. */
export const SCOPES = ['read', 'ingest', 'replay', 'export', 'admin'] as const;

export type Scope = (typeof SCOPES)[number];

/** Whom a request's credential stands for. */
export interface Principal {
  /** name of the token or key; `anonymous` where the API is open; for logs and limits */
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
}

/** Where credentials are known. */
export interface AccessControl {
  /** true: requests without a credential are served too (loopback without API_TOKEN); what they may do is `anonymous` */
  readonly isOpen: boolean;
  /** of a request without a credential, where the API is open */
  readonly anonymous: Principal;
  /** null: no such token, or it is revoked or expired. Takes the same time whichever it is. */
  authenticate(token: string): Principal | null;
}

/** admin may everything. */
export function mayDo(principal: Principal, scope: Scope): boolean {
  return principal.scopes.has(scope) || principal.scopes.has('admin');
}
