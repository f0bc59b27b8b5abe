import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readSetting, readVariable } from './load.ts';
import { loadStreamingConfig, type StreamingConfig } from './streaming.ts';

/** The file of the package, for programs that run outside its folder. Found from src/ and from dist/ alike. */
const PACKAGED = fileURLToPath(new URL('../../../configs/streaming.yaml', import.meta.url));

/**
 * The file named here, or else that of STREAMING_CONFIG, or else the packaged one; variables come from the environment and
 * its file.
 *
 * @throws YamlError, ConfigError
 */
export function readStreamingConfig(path?: string): StreamingConfig {
  return loadStreamingConfig(path ?? streamingConfigPath(), readVariable);
}

export function streamingConfigPath(): string {
  const named = readVariable('STREAMING_CONFIG');
  const path = readSetting('streamingConfigFile');
  return named === null && !existsSync(path) ? PACKAGED : path;
}
