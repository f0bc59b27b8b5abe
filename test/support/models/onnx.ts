/** Small ONNX models, made without Python: enough of onnx.proto for the operators that the tests need. */
import protobuf from 'protobufjs';

const PROTO = `syntax = "proto3";
message Model { int64 ir_version = 1; repeated Opset opset_import = 8; Graph graph = 7; repeated Entry metadata_props = 14; }
message Opset { string domain = 1; int64 version = 2; }
message Entry { string key = 1; string value = 2; }
message Graph {
  repeated Node node = 1; string name = 2; repeated Tensor initializer = 5;
  repeated ValueInfo input = 11; repeated ValueInfo output = 12;
}
message Node { repeated string input = 1; repeated string output = 2; string op_type = 4; repeated Attribute attribute = 5; }
message Attribute { string name = 1; int64 i = 3; Graph g = 6; int32 type = 20; }
message Tensor {
  repeated int64 dims = 1; int32 data_type = 2; string name = 8;
  repeated int32 int32_data = 5; repeated int64 int64_data = 7; repeated double double_data = 10;
}
message ValueInfo { string name = 1; Type type = 2; }
message Type { TensorType tensor_type = 1; }
message TensorType { int32 elem_type = 1; Shape shape = 2; }
message Shape { repeated Dimension dim = 1; }
message Dimension { oneof value { int64 dim_value = 1; string dim_param = 2; } }
`;
const Model = protobuf.parse(PROTO, { keepCase: true }).root.lookupType('Model');

export const FLOAT = 1;
export const INT64 = 7;
const BOOL = 9;
export const DOUBLE = 11;
const INT_ATTRIBUTE = 2;
const GRAPH_ATTRIBUTE = 5;

type Json = Record<string, unknown>;

/** @param shape a number, or a name where any length goes */
export function value(name: string, type: number, shape: readonly (number | string)[]): Json {
  const dim = shape.map((length) =>
    typeof length === 'number' ? { dim_value: length } : { dim_param: length },
  );
  return { name, type: { tensor_type: { elem_type: type, shape: { dim } } } };
}

function tensor(name: string, type: number, dims: readonly number[], values: readonly number[]): Json {
  const data = type === DOUBLE ? 'double_data' : type === INT64 ? 'int64_data' : 'int32_data';
  return { name, data_type: type, dims, [data]: values };
}

function node(
  op_type: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Json = {},
): Json {
  const attribute = Object.entries(attributes).map(([name, of]) =>
    typeof of === 'number' ? { name, i: of, type: INT_ATTRIBUTE } : { name, g: of, type: GRAPH_ATTRIBUTE },
  );
  return { op_type, input, output, attribute };
}

function model(graph: Json, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const metadata_props = Object.entries(metadata).map(([key, text]) => ({ key, value: text }));
  return Model.encode(
    Model.fromObject({
      ir_version: 8,
      opset_import: [{ domain: '', version: 17 }],
      graph: { name: 'g', ...graph },
      metadata_props,
    }),
  ).finish();
}

/** Of a row of TROUBLES: the value (v), and what is wrong with the model then; 0: nothing. */
export const TROUBLES = ['v', 'loops', 'throws', 'nan', 'more'] as const;

/**
 * A regression whose output is `scale` × v. `loops`: so many rounds of nothing (10^15 of them: it hangs). `throws` 1: an index out of
 * range. `nan` −1: NaN. `more` n: n numbers more than one.
 */
export function troubledModel(scale = 1): Uint8Array {
  const nothing = {
    name: 'nothing',
    node: [node('Identity', ['on'], ['still_on']), node('Identity', ['before'], ['after'])],
    input: [value('round', INT64, []), value('on', BOOL, []), value('before', DOUBLE, [])],
    output: [value('still_on', BOOL, []), value('after', DOUBLE, [])],
  };
  return model({
    node: [
      node('Reshape', ['features', 'flat_shape'], ['flat']),
      ...TROUBLES.map((name, at) => node('Gather', ['flat', `at_${at}`], [name])),
      node('Cast', ['loops'], ['rounds'], { to: INT64 }),
      node('Loop', ['rounds', 'yes', 'v'], ['looped'], { body: nothing }),
      node('Cast', ['throws'], ['index'], { to: INT64 }),
      node('Gather', ['zeros', 'index'], ['zero']),
      node('Add', ['looped', 'zero'], ['sum']),
      node('Add', ['nan', 'one'], ['divisor']),
      node('Div', ['divisor', 'divisor'], ['quotient']),
      node('Mul', ['sum', 'quotient'], ['product']),
      node('Mul', ['product', 'scale'], ['scaled']),
      node('Add', ['more', 'one'], ['times']),
      node('Cast', ['times'], ['count'], { to: INT64 }),
      node('Reshape', ['count', 'flat_shape'], ['counts']),
      node('Reshape', ['scaled', 'flat_shape'], ['single']),
      node('Tile', ['single', 'counts'], ['tiled']),
      node('Reshape', ['tiled', 'column_shape'], ['out']),
    ],
    initializer: [
      tensor('flat_shape', INT64, [1], [-1]),
      tensor('column_shape', INT64, [2], [-1, 1]),
      ...TROUBLES.map((_, at) => tensor(`at_${at}`, INT64, [], [at])),
      tensor('yes', BOOL, [], [1]),
      tensor('zeros', DOUBLE, [1], [0]),
      tensor('one', DOUBLE, [], [1]),
      tensor('scale', DOUBLE, [], [scale]),
    ],
    input: [value('features', DOUBLE, ['rows', TROUBLES.length])],
    output: [value('out', DOUBLE, ['rows', 1])],
  });
}

/** What another model has for inputs and outputs: `out` is `features`, whatever they are. */
export function identityModel(
  input: Json,
  output: Json,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  return model(
    {
      node: [node('Identity', [String(input['name'])], [String(output['name'])])],
      input: [input],
      output: [output],
    },
    metadata,
  );
}

/** Probabilities of three classes: the softmax of three features. With `label`: the place of the highest one. */
export function softmaxModel(): Uint8Array {
  return model({
    node: [
      node('Softmax', ['features'], ['probabilities'], { axis: 1 }),
      node('ArgMax', ['probabilities'], ['label'], { axis: 1, keepdims: 0 }),
    ],
    input: [value('features', DOUBLE, ['rows', 3])],
    output: [value('probabilities', DOUBLE, ['rows', 3]), value('label', INT64, ['rows'])],
  });
}
