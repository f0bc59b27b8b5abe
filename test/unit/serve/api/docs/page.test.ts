import { test } from 'tap';
import { docsPage } from '../../../../../src/serve/api/docs/page.ts';
import { typeText } from '../../../../../src/serve/api/docs/schema-text.ts';

void test('whatever a description holds stays text', async (t) => {
  const evil = '<script>alert(1)</script>"\'`<b>`&';
  const page = docsPage(
    {
      openapi: '3.1.0',
      info: { title: evil, version: evil, description: evil },
      paths: {
        [`/${evil}`]: {
          get: {
            operationId: evil,
            summary: evil,
            description: evil,
            tags: [evil],
            security: [{ [evil]: [evil] }],
            parameters: [{ name: evil, in: evil, description: evil, schema: { enum: [evil] } }],
            responses: {
              200: { description: evil, content: { [evil]: { schema: { $ref: `#/${evil}` } } } },
              400: { description: evil },
            },
          },
        },
      },
      components: {
        schemas: {
          [evil]: { type: 'object', description: evil, properties: { [evil]: { type: 'string' } } },
        },
        securitySchemes: { [evil]: { type: 'http', scheme: 'bearer', description: evil } },
      },
    },
    '',
  );
  t.notMatch(page, /<script|<b>|="[^"]*<[^"]*"/);
  t.match(page, '&lt;script&gt;alert(1)');
});

void test('types in words', async (t) => {
  for (const [schema, text] of [
    [{ type: 'integer', minimum: 1, maximum: 10_000, default: 1000 }, 'integer 1…10000, default 1000'],
    [{ type: 'string', format: 'date-time' }, 'string (date-time)'],
    [{ enum: ['market', 'webhook'] }, 'market | webhook'],
    [{ type: 'array', items: { $ref: '#/components/schemas/Tick' } }, 'array of Tick'],
    [{ anyOf: [{ type: 'string' }, { type: 'null' }] }, 'string or null'],
    [
      { type: 'object', properties: { a: { type: 'number' }, b: { const: 1 } }, required: ['a'] },
      '{ a: number; b?: 1 }',
    ],
    [undefined, 'anything'],
  ] as const)
    t.equal(typeText(schema as never), text);
});
