// The name by which a server logs in at an external broker; apart from the rest, because --help
// shows it.
export const SERVER_IDENTITY = 'linnet-server';
