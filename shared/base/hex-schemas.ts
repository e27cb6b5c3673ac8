// Schemas of bytes that are written in lower-case hex.
import { Type } from 'typebox';

/** 32 bytes: a SHA-256, an Ed25519 key, a TUF key id. */
export const Hex32 = Type.String({ pattern: '^[0-9a-f]{64}$' });
/** 64 bytes: an Ed25519 signature. */
export const Hex64 = Type.String({ pattern: '^[0-9a-f]{128}$' });
