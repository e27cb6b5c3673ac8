// The operator console: starts the application in the page that the server sent.
import { render } from 'preact';
import { startLive } from './live.js';
import { Shell } from './shell.js';
import './style.css';

const root = document.getElementById('app');
if (root === null) throw new Error('the page has no element #app');
startLive();
render(<Shell />, root);
