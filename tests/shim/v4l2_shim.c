/* A V4L2 camera without a kernel: preloaded into a program, it stands between the program and the C library.
 *
 *   MILAD_SHIM_DEVICE   the path that becomes a camera
 *   MILAD_SHIM_SCRIPT   what it is and does: see script.h
 */
#define _GNU_SOURCE
#include "camera.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);
	if (!function)
		abort();
	return function;
}

static int is_camera(const char *path)
{
	const char *device = getenv("MILAD_SHIM_DEVICE");
	return device && path && strcmp(device, path) == 0;
}

int open(const char *path, int flags, ...)
{
	va_list list;
	va_start(list, flags);
	int permissions = va_arg(list, int);
	va_end(list);
	return is_camera(path) ? camera_open() : REAL(open)(path, flags, permissions);
}

int open64(const char *path, int flags, ...)
{
	va_list list;
	va_start(list, flags);
	int permissions = va_arg(list, int);
	va_end(list);
	return is_camera(path) ? camera_open() : REAL(open64)(path, flags, permissions);
}

int close(int fd)
{
	if (camera_is(fd))
		camera_close();
	return REAL(close)(fd);
}

static void *map(int fd, void *start, size_t length, int protection, int flags, off64_t offset)
{
	if (camera_is(fd))
		fd = camera_memory(protection);
	return REAL(mmap64)(start, length, protection, flags, fd, offset);
}

void *mmap(void *start, size_t length, int protection, int flags, int fd, off_t offset)
{
	return map(fd, start, length, protection, flags, offset);
}

void *mmap64(void *start, size_t length, int protection, int flags, int fd, off64_t offset)
{
	return map(fd, start, length, protection, flags, offset);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	int ready = REAL(poll)(fds, count, timeout);
	for (nfds_t i = 0; ready > 0 && i < count; i++)
		if (camera_is(fds[i].fd) && camera_is_gone() && fds[i].revents)
			fds[i].revents = POLLERR | POLLHUP;
	return ready;
}

/* What glibc makes of poll in fortified builds. */
int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t size)
{
	(void)size;
	return poll(fds, count, timeout);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	va_start(list, request);
	void *argument = va_arg(list, void *);
	va_end(list);
	if (camera_is(fd))
		return camera_ioctl(request, argument);
	return REAL(ioctl)(fd, request, argument);
}

long syscall(long number, ...)
{
	static long (*next)(long, ...);
	va_list list;
	long a[6];
	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_ioctl && camera_is((int)a[0]))
		return camera_ioctl((unsigned long)a[1], (void *)a[2]);
	if (!next)
		next = (long (*)(long, ...))real("syscall");
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
