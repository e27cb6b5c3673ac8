// Runs before each test file, also where files share a worker.
import { afterAll } from 'vitest';
import { removeTempFolders } from './temp-folders.js';

afterAll(removeTempFolders);
