// Runs before each test file, also where files share a worker.
import { afterAll } from 'vitest';
import { removeTempFolders } from './temp-folders.js';
import { dropTestDatabases } from './test-store.js';

afterAll(removeTempFolders);
afterAll(dropTestDatabases);
