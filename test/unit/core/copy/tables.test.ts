import { test } from 'tap';
import { copyStatement, PROOFS, TICKS, TRANSACTIONS } from '../../../../src/core/copy/tables.ts';

void test('each table has its COPY statement', async (t) => {
  t.equal(
    copyStatement(TICKS),
    'COPY ticks (tick_number, "timestamp", batch_hash, previous_output) FROM STDIN (FORMAT binary)',
  );
  t.equal(
    copyStatement(PROOFS),
    'COPY vdf_proofs (tick_number, input, output, proof, iterations) FROM STDIN (FORMAT binary)',
  );
  t.equal(
    copyStatement(TRANSACTIONS),
    'COPY tick_transactions (tx_hash, tx_id, tick_number, sequence_number, payload, signature, public_key, nonce, ' +
      '"timestamp", tick_timestamp, ingestion_timestamp, tx_id_raw, timestamp_us) FROM STDIN (FORMAT binary)',
  );
});
