import type { FastifyRequest } from 'fastify';
import { mayDo, type AccessControl, type Principal } from '../access.ts';
import { ApiError } from '../errors.ts';
import type { Audit, AuthFailure } from './audit.ts';
import type { FailedCredentials } from './failures.ts';
import type { ClaimedSignature, Signatures } from './signature.ts';

export interface AdmissionOptions {
  access: AccessControl;
  signatures: Signatures;
  failures: FailedCredentials;
  audit: Audit;
}

type Credential = { kind: 'token'; token: string } | { kind: 'signature'; header: string };

const NOBODY: Principal = { name: 'anonymous', scopes: new Set() };
const BEARER = /^Bearer +([\x21-\x7e]{1,512}) *$/i;
const API_KEY = /^[\x21-\x7e]{1,512}$/;

/** Lets a request in, or not: who it is, then what that one may do. Whatever is not declared is refused. */
export class Admission {
  readonly #options: AdmissionOptions;
  /** signed requests whose body has not come yet */
  readonly #claims = new WeakMap<FastifyRequest, ClaimedSignature>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /**
   * By its headers. Null: it is signed, and its body decides (`verifyBody`).
   * @throws ApiError unauthorized, forbidden, too_many_requests
   */
  admit(request: FastifyRequest): Principal | null {
    const { scope } = request.routeOptions.config;
    if (scope === null) return NOBODY;
    const principal = this.#principalOf(request);
    return principal === null ? null : this.#allowed(request, principal);
  }

  /** Of a signed request, before anything reads its body. @throws ApiError unauthorized */
  verifyBody(request: FastifyRequest, body: Buffer): void {
    const claim = this.#claims.get(request);
    if (claim === undefined) return;
    this.#claims.delete(request);
    const principal = this.#options.signatures.verify(claim, body);
    if (principal === null) throw this.#wrong(request, 'the signature is not valid');
    request.principal = this.#allowed(request, principal);
  }

  #allowed(request: FastifyRequest, principal: Principal): Principal {
    const { scope, isRefusal } = request.routeOptions.config;
    // a path or method that does not exist, which is told only to those who may be here at all
    if (scope === undefined || isRefusal === true) return principal;
    if (scope === null || mayDo(principal, scope)) return principal;
    throw this.#refuse(
      request,
      'scope',
      new ApiError('forbidden', `the credential does not have the scope ${scope}`),
      principal.name,
    );
  }

  #principalOf(request: FastifyRequest): Principal | null {
    const { access, signatures, failures } = this.#options;
    const { needsCredential = false, ticket } = request.routeOptions.config;
    const credential = this.#credentialOf(request);
    const waitSeconds = failures.waitSeconds(request.ip);
    if (waitSeconds > 0 && (credential !== null || ticket !== undefined))
      throw this.#refuse(
        request,
        'blocked',
        new ApiError('too_many_requests', 'too many wrong credentials came from this address', {
          retryAfterSeconds: waitSeconds,
        }),
      );
    if (credential?.kind === 'token') {
      const principal = access.authenticate(credential.token);
      if (principal === null) throw this.#wrong(request, 'the token is not valid');
      return principal;
    }
    if (credential?.kind === 'signature') {
      const claim = signatures.read(credential.header);
      if (claim === null) throw this.#wrong(request, 'the signature is not valid, or its time is not ours');
      this.#claims.set(request, claim);
      return null;
    }
    const byTicket = ticket === undefined ? null : this.#byTicket(request, ticket);
    if (byTicket !== null) return byTicket;
    if (access.isOpen && !needsCredential) return access.anonymous;
    throw this.#refuse(
      request,
      'missing',
      new ApiError('unauthorized', 'this needs a credential: a bearer token'),
    );
  }

  #byTicket(
    request: FastifyRequest,
    ticket: (request: FastifyRequest) => Principal | null,
  ): Principal | null {
    try {
      return ticket(request);
    } catch (error) {
      if (error instanceof ApiError && error.code === 'unauthorized')
        throw this.#wrong(request, error.message);
      throw error;
    }
  }

  /** @throws ApiError for several at once: which one counts would be a matter of taste */
  #credentialOf(request: FastifyRequest): Credential | null {
    const { takes = [] } = request.routeOptions.config;
    const { authorization, 'x-api-key': key, 'x-signature': signature } = request.headers;
    const found: Credential[] = [];
    if (authorization !== undefined) {
      const token = BEARER.exec(authorization)?.[1];
      if (token === undefined) throw this.#wrong(request, 'Authorization must be Bearer and a token');
      found.push({ kind: 'token', token });
    }
    if (key !== undefined && takes.includes('api_key')) {
      if (typeof key !== 'string' || !API_KEY.test(key))
        throw this.#wrong(request, 'X-API-Key must be a token');
      found.push({ kind: 'token', token: key });
    }
    if (signature !== undefined && takes.includes('signature'))
      found.push({ kind: 'signature', header: String(signature) });
    if (found.length > 1) throw new ApiError('bad_request', 'there are several credentials: send one');
    return found[0] ?? null;
  }

  #wrong(request: FastifyRequest, message: string): ApiError {
    this.#options.failures.add(request.ip);
    return this.#refuse(request, 'invalid', new ApiError('unauthorized', message));
  }

  #refuse(
    request: FastifyRequest,
    reason: AuthFailure,
    error: ApiError,
    principal: string | null = null,
  ): ApiError {
    this.#options.audit.refused(request, reason, principal);
    return error;
  }
}
