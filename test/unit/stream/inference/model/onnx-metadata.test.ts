import fc from 'fast-check';
import { test } from 'tap';
import { onnxMetadata } from '../../../../../src/stream/inference/model/onnx-metadata.ts';
import { DOUBLE, identityModel, value } from '../../../../support/models/onnx.ts';

const io = [value('x', DOUBLE, ['n', 1]), value('y', DOUBLE, ['n', 1])] as const;

void test('the metadata of a model, whatever its graph', (t) => {
  t.strictSame(
    [...onnxMetadata(identityModel(...io, { mdp_model: '{"a":"ü"}', author: '' }))],
    [
      ['mdp_model', '{"a":"ü"}'],
      ['author', ''],
    ],
  );
  t.equal(onnxMetadata(identityModel(...io)).size, 0);
  t.equal(onnxMetadata(new Uint8Array()).size, 0);
  t.end();
});

void test('other bytes end in a RangeError or in nothing, and at once', (t) => {
  const model = identityModel(...io, { mdp_model: 'x'.repeat(300) });
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.integer({ min: 0, max: model.length }).map((length) => model.subarray(0, length)),
        fc.tuple(fc.nat(model.length - 1), fc.nat(255)).map(([at, byte]) => model.with(at, byte)),
      ),
      (bytes) => {
        try {
          onnxMetadata(bytes);
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
        }
      },
    ),
  );
  t.throws(() => onnxMetadata(Uint8Array.of(0x72, 0xff)), { message: 'is not an ONNX model' });
  t.end();
});
