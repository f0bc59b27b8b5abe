/** Who may do what. */
export const SCOPES = ['read', 'ingest', 'replay', 'export', 'admin'] as const;

export type Scope = (typeof SCOPES)[number];

/** Whom a request's credential stands for. */
export interface Principal {
  /** name of the token or key; `anonymous` where there is none; for logs and limits */
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
}

/** Where tokens are known. */
export interface AccessControl {
  /** true: requests without a credential are served too (loopback without API_TOKEN); what they may do is `anonymous` */
  readonly isOpen: boolean;
  /** of a request without a credential, where the API is open */
  readonly anonymous: Principal;
  /** null: no such token, or it is revoked or expired. Takes the same time whichever it is. */
  authenticate(token: string): Principal | null;
}

/** Of requests that nobody stands behind. */
export const ANONYMOUS = 'anonymous';

/** admin may everything. */
export function mayDo(principal: Principal, scope: Scope): boolean {
  return principal.scopes.has(scope) || principal.scopes.has('admin');
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** what a credential must allow; null: nothing, the route answers everybody. Every route declares it */
    scope?: Scope | null;
    /** it asks for a credential also where the API is open */
    needsCredential?: boolean;
    /** what it takes beside a bearer token: a token as X-API-Key, an X-Signature over the body */
    takes?: readonly ('api_key' | 'signature')[];
    /**
     * A way in of the route's own, such as a ticket of its query; null: the request has none.
     * @throws ApiError unauthorized, for one that is not valid
     */
    ticket?: (request: FastifyRequest) => Principal | null;
    /** it is given the body's text, signature verified, and reads it itself */
    takesText?: boolean;
    /** its accepted requests are counted in a line every few seconds instead of having one each */
    isFrequent?: boolean;
    /** answers 405 for a path that has other methods */
    isRefusal?: boolean;
  }
  interface FastifyRequest {
    /** whom it comes from, once it is let in */
    principal: Principal;
  }
}
