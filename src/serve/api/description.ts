import fastifySwagger from '@fastify/swagger';
import type { RouteOptions } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import type { OpenAPIV3_1 } from 'openapi-types';
import { bodyOf, ApiError, codeOfStatus } from './errors.ts';
import type { Api } from './routes.ts';

type Operation = OpenAPIV3_1.OperationObject;
type Requirement = OpenAPIV3_1.SecurityRequirementObject;

const SECURITY_SCHEMES: Record<string, OpenAPIV3_1.SecuritySchemeObject> = {
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description: 'API_TOKEN, or a token of "mdp tokens create"; with the scope that the operation names.',
  },
  api_key: {
    type: 'apiKey',
    in: 'header',
    name: 'X-API-Key',
    description: 'The same tokens, for senders that cannot set Authorization.',
  },
  signature: {
    type: 'apiKey',
    in: 'header',
    name: 'X-Signature',
    description:
      't=<unix seconds>,id=<key>,v1=<hex of HMAC-SHA256(secret, "<t>.<body>")> with a key of WEBHOOK_HMAC_KEYS; t within five minutes of the server\'s time.',
  },
};

const INFO = {
  title: 'Market Data Pipeline',
  description: 'Chain ticks, market ticks, bars and signals: queries, the webhook and the live path.',
};

/** What an error status says, beside its body. */
const ERROR_TEXTS: Readonly<Record<string, string>> = {
  400: 'The request is not as described: details name the places.',
  401: 'There is no credential, or it is not valid.',
  403: 'The credential does not have the scope, or a page of another site sent the request.',
  404: 'There is no such thing.',
  405: 'The path has other methods: Allow names them.',
  406: 'None of the formats that were asked for.',
  408: 'The request did not come in time.',
  409: 'It contradicts what is there.',
  410: 'It is not there any more.',
  413: 'The body is too large.',
  414: 'The address is too long.',
  415: 'The body must be application/json in UTF-8, not compressed.',
  421: 'The Host header names no host that this server goes by.',
  429: 'Too many requests, or too many wrong credentials from this address.',
  431: 'The headers are too large, or too many.',
  500: 'Something failed here.',
  503: 'It cannot be done now.',
};

const RETRY_AFTER: Record<string, OpenAPIV3_1.HeaderObject> = {
  'retry-after': {
    description: 'Seconds until it may be tried again.',
    schema: { type: 'integer', minimum: 1 },
  },
};

/** OpenAPI 3.1, made of the routes' own schemas: `app.swagger()`. */
export async function describe(app: Api, version: string): Promise<void> {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: { ...INFO, version },
      components: { securitySchemes: SECURITY_SCHEMES },
    },
    transform: (document) => {
      const transformed = jsonSchemaTransform(document);
      if (transformed.schema !== undefined && !('hide' in transformed.schema))
        Object.assign(transformed.schema, { security: securityOf(document.route) });
      return transformed;
    },
    transformObject: (document) => {
      const description = jsonSchemaTransformObject(document) as OpenAPIV3_1.Document;
      for (const path of Object.values(description.paths ?? {}))
        for (const operation of Object.values(path ?? {})) completeErrors(operation as Operation);
      return description;
    },
  });
}

/** One of these is enough. */
function securityOf({ config }: RouteOptions): Requirement[] {
  if (config?.scope == null) return [];
  const scopes = [config.scope];
  return [{ bearer: scopes }, ...(config.takes ?? []).map((name) => ({ [name]: scopes }))];
}

function completeErrors({ responses = {} }: Operation): void {
  for (const [status, response] of Object.entries(responses)) {
    const said = ERROR_TEXTS[status];
    if (said === undefined || '$ref' in response) continue;
    response.description = said;
    if (status === '429' || status === '503') response.headers = { ...response.headers, ...RETRY_AFTER };
    const media = response.content?.['application/json'];
    const error = new ApiError(codeOfStatus(Number(status)), said);
    if (media !== undefined) media.example = bodyOf(error, 'f4b1c7de-5b0c-4a37-9f0e-0a4c8a1f2b6d');
  }
}
