/* What a replayed camera is and does: read from a description file, one "key values…" a line, # starts a comment.
 *
 *   card NAME                       driver NAME
 *   caps HEX                        device capabilities (default: capture, streaming)
 *   mode FOURCC W H NUM DEN         offered; the first is in force until S_FMT. NUM/DEN: seconds a frame
 *   sparse                          sizes and intervals are not told (ENOTTY)
 *   strides A [B C]                 bytesperline by memory plane     (default 0)
 *   planes A [B C]                  bytes of each memory plane's buffer: sizeimage and mapping
 *   color COLORSPACE ENC QUANT      numbers of the kernel's header; "color_old" leaves out the extended fields
 *   answer FOURCC                   what S_FMT makes of every wish
 *   buffers N                       granted by REQBUFS
 *   frame FILE                      a frame's bytes, memory planes behind each other; frames come in turn, again and again
 *   first N                         the driver's count starts here
 *   control NAME                    a control from 0 to 255
 *   fail CALL ERRNO                 OPEN, QUERYCAP, ENUM_FMT, QUERY_EXT_CTRL, S_FMT, REQBUFS, QUERYBUF, QBUF, STREAMON:
 *                                 that error each time, of QUERY_EXT_CTRL behind the last control
 *   at N WHAT [ARG]                 at frame N since the program's start:
 *                                     error | short BYTES | index I | skip K | repeat | clock FLAGS | offset_s S |
 *                                     data_offset B | silence | eio | hangup
 *   hidden N                        after a hangup the device is gone for N opens (ENOENT) …
 *   next FILE                       … and then it is what this description says
 */
#ifndef SCRIPT_H
#define SCRIPT_H

#include <stddef.h>
#include <stdint.h>

enum { MODES = 16, FRAMES = 64, FAULTS = 32, PLANES = 3, BUFFERS = 16, FAILS = 8, CONTROLS = 4 };

struct mode { uint32_t fourcc, width, height, num, den; };
struct fault { long at; char what[16]; long long argument; };
struct frame { unsigned char *bytes; size_t length; };
struct fail { char call[16]; int error; };
struct control { char name[32]; };

struct script {
	char card[64], driver[32], next[512];
	uint32_t caps, colorspace, ycbcr_enc, quantization, answer, buffers, first;
	int color_old, sparse, mode_count, frame_count, fault_count, fail_count, plane_count, control_count;
	uint32_t strides[PLANES], plane_bytes[PLANES];
	struct mode modes[MODES];
	struct frame frames[FRAMES];
	struct fault faults[FAULTS];
	struct fail fails[FAILS];
	struct control controls[CONTROLS];
	long hidden;
};

/* Reads a description; ends the program with a message when it is wrong. */
void script_read(const char *path, struct script *script);

/* The errno that CALL is to fail with, or 0. */
int script_fails(const struct script *script, const char *call);

/* The fault WHAT at frame number `at`, or NULL. */
const struct fault *script_fault(const struct script *script, long at, const char *what);

#endif
