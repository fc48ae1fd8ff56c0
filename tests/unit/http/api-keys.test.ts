import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ApiKeyRing, createApiKey, mayDo, parseApiKeyRing, SCOPES } from '../../../src/http/api-keys.js';

function ringOf(...entries: string[]): ApiKeyRing {
  const result = parseApiKeyRing(entries);
  if (result.kind !== 'ring') throw new Error(result.problems.join('; '));
  return result.ring;
}

describe('API keys', () => {
  it('are recognised by a ring that knows only their hash', () => {
    // Enough keys for secrets with every character of base64url in every place, underscores included.
    for (let i = 0; i < 200; i++) {
      const { key, entry } = createApiKey(`agent-${i}`, ['verify', 'read']);
      expect(key).toMatch(/^vak_agent-\d+_[A-Za-z0-9_-]{43}$/);
      expect(entry).toBe(`agent-${i}:verify+read:${createHash('sha256').update(key).digest('hex')}`);
      expect(entry).not.toContain(key.slice(-43));
      const holder = ringOf(entry).identify(key);
      expect(holder?.id).toBe(`agent-${i}`);
      expect([...(holder?.scopes ?? [])]).toEqual(['verify', 'read']);
    }
  });

  it('are refused when anything about them is different', () => {
    const { key, entry } = createApiKey('agent', ['verify']);
    const ring = ringOf(entry, createApiKey('other', ['verify']).entry);
    const flipped = key.slice(0, -1) + (key.endsWith('A') ? 'B' : 'A');
    const moved = key.replace('_agent_', '_other_');
    for (const wrong of [flipped, moved, key.toUpperCase(), `${key}A`, key.slice(0, -1), ` ${key}`, `${key}\n`, '']) {
      expect(ring.identify(wrong)).toBeUndefined();
    }
    fc.assert(fc.property(fc.string(), (text) => ring.identify(text) === undefined));
    fc.assert(
      fc.property(fc.stringMatching(/^vak_(agent|other|third)_[A-Za-z0-9_-]{43}$/), (text) => {
        fc.pre(text !== key);
        return ring.identify(text) === undefined;
      }),
    );
  });

  it('may do what their scopes say, and everything with admin', () => {
    const reader = createApiKey('r', ['read']).holder;
    const admin = createApiKey('a', ['admin']).holder;
    expect(SCOPES.filter((scope) => mayDo(reader, scope))).toEqual(['read']);
    expect(SCOPES.filter((scope) => mayDo(admin, scope))).toEqual([...SCOPES]);
  });

  it('have ids that cannot be mistaken for a part of the secret', () => {
    for (const id of ['', 'with_underscore', 'with:colon', 'x'.repeat(33), '-lead']) {
      expect(() => createApiKey(id, ['read'])).toThrowError(expect.objectContaining({ code: 'ValidationError' }));
    }
    expect(() => createApiKey('ok', [])).toThrowError(expect.objectContaining({ code: 'ValidationError' }));
  });
});

describe('the key ring', () => {
  it('reports everything that is wrong, and no value', () => {
    const hash = 'a'.repeat(64);
    const result = parseApiKeyRing([
      `good:read:${hash}`,
      `good:verify:${hash}`,
      `bad_id:read:${hash}`,
      `scopes:read+root:${hash}`,
      'plain:read:vak_plain_topsecret',
      `upper:read:${hash.toUpperCase()}`,
      'nothing',
      `extra:read:${hash}:x`,
      `empty::${hash}`,
    ]);
    if (result.kind !== 'problems') throw new Error('accepted');
    const places = result.problems.map((problem) => problem.split(':')[0]);
    expect(places).toEqual(['2', '3', '4', '5', '6', '7', '8', '9'].map((n) => `entry ${n}`));
    expect(result.problems.join()).not.toMatch(/topsecret|root|aaaa/i);
  });

  it('with no entries knows nobody', () => {
    expect(ringOf().identify(createApiKey('agent', ['read']).key)).toBeUndefined();
  });
});
