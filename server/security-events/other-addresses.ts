// The source under which events of strangers are folded when too many addresses cause the same one.
export const OTHER_ADDRESSES = 'other addresses';
