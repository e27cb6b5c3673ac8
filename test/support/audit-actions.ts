// Audit entries for tests that change something below the HTTP routes.
import type { AuditAction } from '../../server/interfaces.js';

export const by = (actor: string, action = 'test'): AuditAction => ({
  actor,
  action,
  subject: '',
  detail: '',
  trace: null,
});
