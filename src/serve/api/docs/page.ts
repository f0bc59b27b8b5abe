import type { OpenAPIV3_1 } from 'openapi-types';
import { Html, markup, prose } from './markup.ts';
import { fieldsOf, typeText, type Schema } from './schema-text.ts';

type Document = OpenAPIV3_1.Document;
type Operation = OpenAPIV3_1.OperationObject;

interface Route {
  method: string;
  path: string;
  operation: Operation;
  anchor: string;
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

/** The description as one page of HTML: no script, nothing from elsewhere, one style that the caller names by its hash. */
export function docsPage(document: Document, style: string): string {
  const groups = groupsOf(document);
  return markup`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${document.info.title}: API</title>
        <style>${new Html(style)}</style>
      </head>
      <body>
        <nav aria-label="Operations">
          <h1>${document.info.title}</h1>
          <p class="version">${document.info.version}</p>
          ${[...groups].map(
            ([tag, routes]) =>
              markup`<h2>${tag}</h2>
                <ul>
                  ${routes.map(link)}
                </ul>`,
          )}
          <h2>more</h2>
          <ul>
            <li><a href="#credentials">Credentials</a></li>
            <li><a href="#errors">Errors</a></li>
            <li><a href="#schemas">Schemas</a></li>
            <li><a href="/openapi.json">openapi.json</a></li>
          </ul>
        </nav>
        <main>
          <p>${document.info.description ?? ''}</p>
          ${[...groups.values()].flat().map(section)} ${credentials(document)} ${errors(groups)}
          ${schemas(document)}
        </main>
      </body>
    </html> `.text;
}

function groupsOf({ paths = {} }: Document): Map<string, Route[]> {
  const groups = new Map<string, Route[]>();
  for (const [path, item] of Object.entries(paths))
    for (const method of METHODS) {
      const operation = item?.[method];
      if (operation === undefined) continue;
      const tag = operation.tags?.[0] ?? 'other';
      const anchor = operation.operationId ?? `${method}${path.replaceAll(/[^A-Za-z0-9]+/g, '-')}`;
      const routes = groups.get(tag) ?? [];
      groups.set(tag, [...routes, { method: method.toUpperCase(), path, operation, anchor }]);
    }
  return groups;
}

function link({ method, path, anchor }: Route): Html {
  return markup`<li>
    <a href="#${anchor}"><b class="${method}">${method}</b> ${path}</a>
  </li>`;
}

function section({ method, path, operation, anchor }: Route): Html {
  const { summary, description, parameters = [], requestBody, responses = {} } = operation;
  return markup`<section id="${anchor}">
    <h3><b class="${method}">${method}</b> <code>${path}</code></h3>
    <p>${prose(upperFirst(summary ?? ''))}</p>
    ${description === undefined ? null : markup`<p>${prose(description)}</p>`}
    <p class="access">${access(operation)}</p>
    ${parameterTable(parameters)}
    ${requestBody === undefined || '$ref' in requestBody ? null : body(requestBody)} ${answers(responses)}
  </section>`;
}

function access({ security = [] }: Operation): Html {
  if (security.length === 0) return markup`Open to everybody.`;
  const scopes = new Set(security.flatMap((one) => Object.values(one).flat()));
  const ways = security
    .flatMap((one) => Object.keys(one))
    .map((name) => markup`<a href="#credentials">${name}</a> `);
  return markup`Scope <code>${[...scopes].join(', ')}</code> by ${ways}`;
}

function parameterTable(
  parameters: readonly (OpenAPIV3_1.ParameterObject | OpenAPIV3_1.ReferenceObject)[],
): Html | null {
  const rows = parameters.flatMap((parameter) => ('$ref' in parameter ? [] : [parameterRow(parameter)]));
  return rows.length === 0
    ? null
    : markup`<table>
        <thead>
          <tr>
            <th>Parameter</th>
            <th>In</th>
            <th>Type</th>
            <th>Meaning</th>
          </tr>
        </thead>
        <tbody>
          ${rows}
        </tbody>
      </table>`;
}

function parameterRow({ name, in: place, required, schema, description }: OpenAPIV3_1.ParameterObject): Html {
  const type = typeText(schema);
  const said = description ?? describedBy(schema);
  return markup`<tr>
    <td><code>${name}</code>${required === true ? markup`<span class="required"> required</span>` : null}</td>
    <td>${place}</td>
    <td>${type}</td>
    <td>${prose(said)}</td>
  </tr>`;
}

function describedBy(schema: Schema | undefined): string {
  return schema !== undefined && 'description' in schema ? (schema.description ?? '') : '';
}

function body({ content }: OpenAPIV3_1.RequestBodyObject): Html {
  return markup`${Object.entries(content).map(([type, { schema }]) => markup`<p>Body <code>${type}</code>: ${typeText(schema)}</p>`)}`;
}

/** Those of success in full; the errors that may come are the same almost everywhere. */
function answers(responses: OpenAPIV3_1.ResponsesObject): Html {
  const entries = Object.entries(responses);
  const good = entries.filter(([status]) => Number(status) < 400);
  const rows = good.flatMap(([status, response]) => {
    if ('$ref' in response) return [];
    const contents = Object.entries(response.content ?? {});
    const said = response.description === 'Default Response' ? '' : response.description;
    const types = contents.map(
      ([type, { schema }]) => markup`<p><code>${type}</code> ${typeText(schema)}</p>`,
    );
    return [
      markup`<tr>
        <td><code>${status}</code></td>
        <td>${prose(said)}${types}</td>
      </tr>`,
    ];
  });
  const bad = entries.filter(([status]) => Number(status) >= 400);
  return markup`<table>
      <thead>
        <tr>
          <th>Status</th>
          <th>Answer</th>
        </tr>
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>
    <p class="errors">Errors: ${bad.map(([status]) => markup`<a href="#error-${status}">${status}</a> `)}</p>`;
}

function credentials({ components }: Document): Html {
  const rows = Object.entries(components?.securitySchemes ?? {}).flatMap(([name, scheme]) =>
    '$ref' in scheme
      ? []
      : [
          markup`<dt><code>${name}</code></dt>
            <dd>${prose(scheme.description ?? scheme.type)}</dd>`,
        ],
  );
  return markup`<section id="credentials">
    <h3>Credentials</h3>
    <dl>${rows}</dl>
  </section>`;
}

function errors(groups: ReadonlyMap<string, readonly Route[]>): Html {
  const texts = new Map<string, string>();
  for (const { operation } of [...groups.values()].flat())
    for (const [status, response] of Object.entries(operation.responses ?? {}))
      if (Number(status) >= 400 && !('$ref' in response)) texts.set(status, response.description);
  const rows = [...texts]
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(
      ([status, text]) =>
        markup`<dt id="error-${status}"><code>${status}</code></dt>
        <dd>${prose(text)}</dd>`,
    );
  return markup`<section id="errors">
    <h3>Errors</h3>
    <p>
      Every answer from 400 on has the same body:
      <code>{"error": {"code", "message", "request_id", "details"?}}</code>; request_id is also the header
      x-request-id.
    </p>
    <dl>${rows}</dl>
  </section>`;
}

function schemas({ components }: Document): Html {
  const known = components?.schemas ?? {};
  // what is sent and what is answered by one name, but for its suffix
  const all = Object.entries(known).filter(
    ([name]) => !name.endsWith('Input') || known[name.slice(0, -'Input'.length)] === undefined,
  );
  const parts = all.map(([name, schema]) => {
    const rows = fieldsOf(schema).map(
      (field) =>
        markup`<tr>
          <td><code>${field.name}</code>${field.isRequired ? null : '?'}</td>
          <td>${typeText(field.schema)}</td>
          <td>${prose(describedBy(field.schema))}</td>
        </tr>`,
    );
    return markup`<h4 id="schema-${name}">${name}</h4>
      <p>${prose(describedBy(schema))}</p>
      ${
        rows.length === 0
          ? markup`<p>${typeText(schema)}</p>`
          : markup`<table>
              <tbody>
                ${rows}
              </tbody>
            </table>`
      }`;
  });
  return markup`<section id="schemas">
    <h3>Schemas</h3>
    ${parts}
  </section>`;
}

function upperFirst(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}
