import { createHash } from 'node:crypto';
import type { OpenAPIV3_1 } from 'openapi-types';
import { docsPage } from '../docs/page.ts';
import { DOCS_STYLE } from '../docs/style.ts';
import type { Api } from '../routes.ts';

const STYLE_HASH = `'sha256-${createHash('sha256').update(DOCS_STYLE).digest('base64')}'`;

/** /openapi.json, and /docs: the same for people. */
export function docsRoutes(api: Api): void {
  let json: string | null = null;
  let page: string | null = null;
  api.get(
    '/openapi.json',
    {
      config: { scope: 'read' },
      schema: { hide: true },
    },
    (_request, reply) => {
      json ??= JSON.stringify(api.swagger());
      return reply.type('application/json; charset=utf-8').send(json);
    },
  );
  api.get(
    '/docs',
    {
      config: { scope: 'read' },
      schema: { hide: true },
      helmet: {
        contentSecurityPolicy: {
          useDefaults: false,
          directives: {
            defaultSrc: ["'none'"],
            styleSrc: [STYLE_HASH],
            baseUri: ["'none'"],
            formAction: ["'none'"],
            frameAncestors: ["'none'"],
          },
        },
      },
    },
    (_request, reply) => {
      page ??= docsPage(api.swagger() as OpenAPIV3_1.Document, DOCS_STYLE);
      return reply.type('text/html; charset=utf-8').send(page);
    },
  );
}
