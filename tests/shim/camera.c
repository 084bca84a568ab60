/* The replayed camera itself: what it answers to each ioctl, and which frame comes next. See camera.h. */
#define _GNU_SOURCE
#include "camera.h"
#include "script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <linux/videodev2.h>

static struct script script;
static struct mode mode;
static int loaded, camera = -1, memory = -1, gone, silent, streaming;
static long opens_hidden, delivered;
static uint32_t granted, sequence, type;
static unsigned queue[BUFFERS], queued;
static unsigned char in_queue[BUFFERS];
static size_t plane_offset[PLANES], buffer_bytes;

static void mistake(const char *what)
{
	fprintf(stderr, "v4l2_shim: the program's mistake: %s\n", what);
	abort();
}

static int refuse(int error)
{
	errno = error;
	return -1;
}

/* Readable while a frame waits, or an error does. */
static void signal_state(void)
{
	int ready = gone || (streaming && !silent && queued > 0);
	struct itimerspec at = { .it_value = { 0, ready ? 1 : 0 } };
	timerfd_settime(camera, 0, &at, NULL);
}

int camera_open(void)
{
	if (!loaded) {
		script_read(getenv("MILAD_SHIM_SCRIPT"), &script);
		loaded = 1;
		sequence = script.first;
	}
	if (gone) {
		if (opens_hidden++ < script.hidden)
			return refuse(ENOENT);
		gone = 0;
		opens_hidden = 0;
		if (script.next[0]) {
			char next[sizeof script.next];
			strcpy(next, script.next);
			script_read(next, &script);
			sequence = script.first;
		}
	}
	int error = script_fails(&script, "OPEN");
	if (error)
		return refuse(error);
	if (camera >= 0)
		return refuse(EBUSY);
	mode = script.modes[0];
	silent = streaming = 0;
	camera = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	return camera;
}

void camera_close(void)
{
	camera = -1;
	streaming = 0;
	queued = granted = 0;
	memset(in_queue, 0, sizeof in_queue);
	if (memory >= 0)
		close(memory);
	memory = -1;
}

int camera_is(long fd)
{
	return camera >= 0 && fd == camera;
}

int camera_is_gone(void)
{
	return gone;
}

int camera_memory(int protection)
{
	if (protection & PROT_WRITE)
		mistake("maps a buffer for writing");
	return memory;
}

static int multi_planar(void)
{
	return (script.caps & V4L2_CAP_VIDEO_CAPTURE_MPLANE) != 0;
}

static void fill_format(struct v4l2_format *format)
{
	if (multi_planar()) {
		struct v4l2_pix_format_mplane *pix = &format->fmt.pix_mp;
		memset(pix, 0, sizeof *pix);
		pix->width = mode.width, pix->height = mode.height, pix->pixelformat = mode.fourcc;
		pix->field = V4L2_FIELD_NONE, pix->num_planes = (uint8_t)script.plane_count;
		pix->colorspace = script.colorspace, pix->ycbcr_enc = (uint8_t)script.ycbcr_enc;
		pix->quantization = (uint8_t)script.quantization;
		for (int i = 0; i < script.plane_count; i++) {
			pix->plane_fmt[i].bytesperline = script.strides[i];
			pix->plane_fmt[i].sizeimage = script.plane_bytes[i];
		}
		return;
	}
	struct v4l2_pix_format *pix = &format->fmt.pix;
	memset(pix, 0, sizeof *pix);
	pix->width = mode.width, pix->height = mode.height, pix->pixelformat = mode.fourcc;
	pix->field = V4L2_FIELD_NONE, pix->bytesperline = script.strides[0], pix->sizeimage = script.plane_bytes[0];
	pix->colorspace = script.colorspace;
	/* Without the magic number these hold rubbish, as they may. */
	pix->priv = script.color_old ? 0 : V4L2_PIX_FMT_PRIV_MAGIC;
	pix->ycbcr_enc = script.color_old ? V4L2_YCBCR_ENC_BT2020 : script.ycbcr_enc;
	pix->quantization = script.color_old ? V4L2_QUANTIZATION_FULL_RANGE : script.quantization;
}

static int set_format(struct v4l2_format *format)
{
	if (format->type != type)
		return refuse(EINVAL);
	uint32_t wanted = multi_planar() ? format->fmt.pix_mp.pixelformat : format->fmt.pix.pixelformat;
	uint32_t width = multi_planar() ? format->fmt.pix_mp.width : format->fmt.pix.width;
	uint32_t height = multi_planar() ? format->fmt.pix_mp.height : format->fmt.pix.height;
	for (int i = script.mode_count - 1; i >= 0; i--) {
		const struct mode *m = &script.modes[i];
		if (m->fourcc == wanted && (mode.fourcc != wanted || (m->width == width && m->height == height)))
			mode = *m;
	}
	if (script.answer)
		mode.fourcc = script.answer;
	fill_format(format);
	return 0;
}

/* The index-th different value among the modes that fit. */
static const struct mode *nth(uint32_t index, uint32_t fourcc, uint32_t width, uint32_t height, int what)
{
	const struct mode *seen[MODES];
	uint32_t count = 0;
	for (int i = 0; i < script.mode_count; i++) {
		const struct mode *m = &script.modes[i];
		int fresh = 1;
		if ((what > 0 && m->fourcc != fourcc) || (what > 1 && (m->width != width || m->height != height)))
			continue;
		for (uint32_t j = 0; j < count && fresh; j++)
			fresh = what == 0 ? seen[j]->fourcc != m->fourcc
			      : what == 1 ? seen[j]->width != m->width || seen[j]->height != m->height : 1;
		if (!fresh)
			continue;
		if (count == index)
			return m;
		seen[count++] = m;
	}
	return NULL;
}

static int request_buffers(struct v4l2_requestbuffers *request)
{
	granted = request->count && script.buffers < BUFFERS ? script.buffers : request->count;
	granted = granted < BUFFERS ? granted : BUFFERS;
	request->count = granted;
	queued = 0;
	memset(in_queue, 0, sizeof in_queue);
	buffer_bytes = 0;
	for (int i = 0; i < script.plane_count; i++) {
		plane_offset[i] = buffer_bytes;
		/* A page more than needed, as drivers have it, so that offsets stay multiples of pages of any size. */
		buffer_bytes += (script.plane_bytes[i] / 65536 + 1) * 65536;
	}
	if (memory >= 0)
		close(memory);
	memory = memfd_create("v4l2_shim", MFD_CLOEXEC);
	return ftruncate(memory, (off_t)(buffer_bytes * (granted ? granted : 1)));
}

static int query_buffer(struct v4l2_buffer *buffer)
{
	if (buffer->index >= granted)
		return refuse(EINVAL);
	if (multi_planar()) {
		if (buffer->length < (uint32_t)script.plane_count)
			return refuse(EINVAL);
		buffer->length = (uint32_t)script.plane_count;
		for (int i = 0; i < script.plane_count; i++) {
			buffer->m.planes[i].length = script.plane_bytes[i];
			buffer->m.planes[i].m.mem_offset = (uint32_t)(buffer->index * buffer_bytes + plane_offset[i]);
		}
	} else {
		buffer->length = script.plane_bytes[0];
		buffer->m.offset = (uint32_t)(buffer->index * buffer_bytes);
	}
	return 0;
}

static int queue_buffer(const struct v4l2_buffer *buffer)
{
	if (gone)
		return refuse(ENODEV);
	if (buffer->index >= granted || buffer->memory != V4L2_MEMORY_MMAP || buffer->type != type)
		mistake("queues a buffer that is none");
	if (in_queue[buffer->index])
		mistake("queues a buffer that the driver has");
	in_queue[buffer->index] = 1;
	queue[queued++] = buffer->index;
	signal_state();
	return 0;
}

/* Writes the frame into the buffer's memory; how many bytes each plane got is returned in `used`. */
static void write_frame(unsigned index, uint32_t used[PLANES])
{
	if (script.frame_count == 0)
		mistake("streams, but the description has no frame");
	const struct frame *frame = &script.frames[delivered % script.frame_count];
	size_t from = 0;
	for (int i = 0; i < script.plane_count; i++) {
		size_t length = frame->length - from;
		if (length > script.plane_bytes[i])
			length = script.plane_bytes[i];
		if (pwrite(memory, frame->bytes + from, length, (off_t)(index * buffer_bytes + plane_offset[i])) < 0)
			abort();
		used[i] = (uint32_t)length;
		from += length;
	}
}

static void stamp(struct v4l2_buffer *buffer)
{
	const struct fault *clock = script_fault(&script, delivered, "clock");
	const struct fault *offset = script_fault(&script, delivered, "offset_s");
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	buffer->timestamp.tv_sec = now.tv_sec + (offset ? (long)offset->argument : 0);
	buffer->timestamp.tv_usec = now.tv_nsec / 1000;
	buffer->flags |= clock ? (uint32_t)clock->argument : V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC | V4L2_BUF_FLAG_TSTAMP_SRC_SOE;
}

static int dequeue(struct v4l2_buffer *buffer)
{
	if (gone)
		return refuse(ENODEV);
	if (script_fault(&script, delivered, "hangup")) {
		/* Seen by a waiting poll first, as when a plug is pulled. */
		gone = 1;
		delivered++;
		signal_state();
		return refuse(EAGAIN);
	}
	if (script_fault(&script, delivered, "eio")) {
		delivered++;
		return refuse(EIO);
	}
	if (script_fault(&script, delivered, "silence")) {
		delivered++;
		silent = 1;
		signal_state();
	}
	if (!streaming)
		return refuse(EINVAL);
	if (silent || queued == 0)
		return refuse(EAGAIN);
	uint32_t used[PLANES] = { 0 };
	unsigned index = queue[0];
	memmove(queue, queue + 1, --queued * sizeof *queue);
	in_queue[index] = 0;
	write_frame(index, used);

	const struct fault *fault;
	if ((fault = script_fault(&script, delivered, "skip")))
		sequence += (uint32_t)fault->argument;
	if ((fault = script_fault(&script, delivered, "repeat")))
		sequence--;
	if ((fault = script_fault(&script, delivered, "short")))
		used[script.plane_count - 1] = (uint32_t)fault->argument;
	buffer->flags = V4L2_BUF_FLAG_MAPPED;
	if (script_fault(&script, delivered, "error"))
		buffer->flags |= V4L2_BUF_FLAG_ERROR;
	stamp(buffer);
	buffer->index = index;
	if ((fault = script_fault(&script, delivered, "index")))
		buffer->index = (uint32_t)fault->argument;
	buffer->sequence = sequence++;
	buffer->field = V4L2_FIELD_NONE;
	if (multi_planar()) {
		fault = script_fault(&script, delivered, "data_offset");
		buffer->length = (uint32_t)script.plane_count;
		for (int i = 0; i < script.plane_count; i++) {
			buffer->m.planes[i].bytesused = used[i];
			buffer->m.planes[i].data_offset = fault ? (uint32_t)fault->argument : 0;
		}
	} else {
		buffer->bytesused = used[0];
		buffer->length = script.plane_bytes[0];
	}
	delivered++;
	signal_state();
	return 0;
}

static int enumerate(unsigned long request, void *argument)
{
	const struct mode *m;
	if (request == VIDIOC_ENUM_FMT) {
		struct v4l2_fmtdesc *item = argument;
		if (item->type != type || !(m = nth(item->index, 0, 0, 0, 0)))
			return refuse(EINVAL);
		item->pixelformat = m->fourcc;
		return 0;
	}
	if (script.sparse)
		return refuse(ENOTTY);
	if (request == VIDIOC_ENUM_FRAMESIZES) {
		struct v4l2_frmsizeenum *item = argument;
		if (!(m = nth(item->index, item->pixel_format, 0, 0, 1)))
			return refuse(EINVAL);
		item->type = V4L2_FRMSIZE_TYPE_DISCRETE;
		item->discrete.width = m->width, item->discrete.height = m->height;
		return 0;
	}
	struct v4l2_frmivalenum *item = argument;
	if (!(m = nth(item->index, item->pixel_format, item->width, item->height, 2)))
		return refuse(EINVAL);
	item->type = V4L2_FRMIVAL_TYPE_DISCRETE;
	item->discrete.numerator = m->num, item->discrete.denominator = m->den;
	return 0;
}

static int parameters(struct v4l2_streamparm *parm, int set)
{
	if (script.sparse)
		return refuse(ENOTTY);
	if (set && parm->parm.capture.timeperframe.denominator) {
		mode.num = parm->parm.capture.timeperframe.numerator;
		mode.den = parm->parm.capture.timeperframe.denominator;
	}
	memset(&parm->parm, 0, sizeof parm->parm);
	parm->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
	parm->parm.capture.timeperframe.numerator = mode.num;
	parm->parm.capture.timeperframe.denominator = mode.den;
	return 0;
}

static int fail_or(const char *call, int result)
{
	int error = script_fails(&script, call);
	return error ? refuse(error) : result;
}

#define FIRST_CONTROL V4L2_CID_BASE

/* The next one behind the number asked for; none: the driver says so, or fails. */
static int query_control(struct v4l2_query_ext_ctrl *query)
{
	uint32_t last = query->id & V4L2_CTRL_ID_MASK;
	int next = last < FIRST_CONTROL ? 0 : (int)(last - FIRST_CONTROL) + 1;
	if (next >= script.control_count)
		return fail_or("QUERY_EXT_CTRL", refuse(script.control_count ? EINVAL : ENOTTY));
	memset(query, 0, sizeof *query);
	query->id = FIRST_CONTROL + next;
	query->type = V4L2_CTRL_TYPE_INTEGER;
	strcpy(query->name, script.controls[next].name);
	query->maximum = 255;
	query->step = 1;
	return 0;
}

static int set_control(const struct v4l2_ext_controls *wanted)
{
	for (uint32_t i = 0; i < wanted->count; i++)
		if (wanted->controls[i].id - FIRST_CONTROL >= (uint32_t)script.control_count)
			return refuse(EINVAL);
	return 0;
}

#define FAIL(call) if (script_fails(&script, call)) return fail_or(call, 0)

int camera_ioctl(unsigned long request, void *argument)
{
	type = multi_planar() ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
	switch (request) {
	case VIDIOC_QUERYCAP: {
		FAIL("QUERYCAP");
		struct v4l2_capability *caps = argument;
		memset(caps, 0, sizeof *caps);
		snprintf((char *)caps->driver, sizeof caps->driver, "%.15s", script.driver);
		snprintf((char *)caps->card, sizeof caps->card, "%.31s", script.card);
		snprintf((char *)caps->bus_info, sizeof caps->bus_info, "platform:shim");
		caps->device_caps = script.caps;
		caps->capabilities = script.caps | V4L2_CAP_DEVICE_CAPS;
		return 0;
	}
	case VIDIOC_ENUM_FMT:
		FAIL("ENUM_FMT");
		return enumerate(request, argument);
	case VIDIOC_ENUM_FRAMESIZES:
	case VIDIOC_ENUM_FRAMEINTERVALS:
		return enumerate(request, argument);
	case VIDIOC_S_FMT:
		FAIL("S_FMT");
		return set_format(argument);
	case VIDIOC_G_FMT:
		fill_format(argument);
		return 0;
	case VIDIOC_G_PARM:
	case VIDIOC_S_PARM:
		return parameters(argument, request == VIDIOC_S_PARM);
	case VIDIOC_REQBUFS:
		FAIL("REQBUFS");
		return request_buffers(argument);
	case VIDIOC_QUERYBUF:
		FAIL("QUERYBUF");
		return query_buffer(argument);
	case VIDIOC_QBUF:
		FAIL("QBUF");
		return queue_buffer(argument);
	case VIDIOC_DQBUF:
		return dequeue(argument);
	case VIDIOC_STREAMON:
		FAIL("STREAMON");
		if (queued == 0)
			mistake("starts a stream without buffers");
		streaming = 1;
		signal_state();
		return 0;
	case VIDIOC_STREAMOFF:
		streaming = 0;
		queued = 0;
		memset(in_queue, 0, sizeof in_queue);
		return gone ? refuse(ENODEV) : 0;
	case VIDIOC_QUERY_EXT_CTRL:
		return query_control(argument);
	case VIDIOC_S_EXT_CTRLS:
		return set_control(argument);
	default:
		return refuse(ENOTTY);
	}
}
