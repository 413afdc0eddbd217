/* A library built on a later system: the loader refuses it here. */
extern int from_the_future(void);

int use(void) { return from_the_future(); }
