/* A camera replayed from a description, at the level of system calls. One thread, one open camera at a time.
 *
 * It is stricter than drivers, so that mistakes of the program are seen: a buffer queued twice, streaming without buffers,
 * or a mapping for writing end the program. Frames come as fast as they are taken, and only into queued buffers, so that
 * nothing depends on time. The descriptor is a timer, so that every kind of poll works on it.
 */
#ifndef CAMERA_H
#define CAMERA_H

/* As open: a descriptor, or -1 and errno. */
int camera_open(void);

/* What is to be done before its descriptor is closed. */
void camera_close(void);

/* Whether fd is the open camera's. */
int camera_is(long fd);

/* Whether it was unplugged while open. */
int camera_is_gone(void);

/* The file that its buffers lie in, to be mapped in its place. */
int camera_memory(int protection);

/* As ioctl. */
int camera_ioctl(unsigned long request, void *argument);

#endif
