/* Reading a replayed camera's description: see script.h. */
#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/videodev2.h>

static void wrong(const char *path, const char *line)
{
	fprintf(stderr, "v4l2_shim: %s: not understood: %s\n", path, line);
	abort();
}

static uint32_t fourcc_of(const char *letters)
{
	return v4l2_fourcc(letters[0], letters[1], letters[2], letters[3]);
}

static struct frame load(const char *path)
{
	struct frame frame = { 0 };
	FILE *file = fopen(path, "rb");
	if (!file)
		wrong(path, "can't be opened");
	fseek(file, 0, SEEK_END);
	frame.length = (size_t)ftell(file);
	rewind(file);
	frame.bytes = malloc(frame.length ? frame.length : 1);
	if (!frame.bytes || fread(frame.bytes, 1, frame.length, file) != frame.length)
		wrong(path, "can't be read");
	fclose(file);
	return frame;
}

static int parse(struct script *s, const char *line)
{
	char text[512], call[16];
	unsigned a = 0, b = 0, c = 0, d = 0;
	int error;
	if (sscanf(line, "card %63[^\n]", s->card) == 1 || sscanf(line, "driver %31s", s->driver) == 1)
		return 1;
	if (sscanf(line, "next %511s", s->next) == 1 || sscanf(line, "hidden %ld", &s->hidden) == 1)
		return 1;
	if (sscanf(line, "caps %x", &s->caps) == 1 || sscanf(line, "buffers %u", &s->buffers) == 1)
		return 1;
	if (sscanf(line, "first %u", &s->first) == 1)
		return 1;
	if (sscanf(line, "mode %4s %u %u %u %u", text, &a, &b, &c, &d) == 5 && s->mode_count < MODES) {
		s->modes[s->mode_count++] = (struct mode){ fourcc_of(text), a, b, c, d };
		return 1;
	}
	if (strcmp(line, "sparse") == 0)
		return s->sparse = 1;
	if (sscanf(line, "strides %u %u %u", &s->strides[0], &s->strides[1], &s->strides[2]) >= 1)
		return 1;
	if ((error = sscanf(line, "planes %u %u %u", &s->plane_bytes[0], &s->plane_bytes[1], &s->plane_bytes[2])) >= 1) {
		s->plane_count = error;
		return 1;
	}
	if (sscanf(line, "color %u %u %u", &s->colorspace, &s->ycbcr_enc, &s->quantization) == 3)
		return 1;
	if (sscanf(line, "color_old %u", &s->colorspace) == 1)
		return s->color_old = 1;
	if (sscanf(line, "answer %4s", text) == 1) {
		s->answer = fourcc_of(text);
		return 1;
	}
	if (sscanf(line, "frame %511s", text) == 1 && s->frame_count < FRAMES) {
		s->frames[s->frame_count++] = load(text);
		return 1;
	}
	if (sscanf(line, "control %31s", text) == 1 && s->control_count < CONTROLS) {
		strcpy(s->controls[s->control_count++].name, text);
		return 1;
	}
	if (sscanf(line, "fail %15s %d", call, &error) == 2 && s->fail_count < FAILS) {
		struct fail *fail = &s->fails[s->fail_count++];
		strcpy(fail->call, call);
		fail->error = error;
		return 1;
	}
	if (strncmp(line, "at ", 3) == 0 && s->fault_count < FAULTS) {
		struct fault *fault = &s->faults[s->fault_count++];
		return sscanf(line, "at %ld %15s %lld", &fault->at, fault->what, &fault->argument) >= 2;
	}
	return 0;
}

void script_read(const char *path, struct script *script)
{
	char line[1024];
	memset(script, 0, sizeof *script);
	strcpy(script->card, "Replayed camera");
	strcpy(script->driver, "shim");
	script->caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
	script->buffers = 6;
	script->plane_count = 1;
	FILE *file = fopen(path, "r");
	if (!file)
		wrong(path, "can't be opened");
	while (fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = 0;
		if (line[0] && line[0] != '#' && !parse(script, line))
			wrong(path, line);
	}
	fclose(file);
}

int script_fails(const struct script *script, const char *call)
{
	for (int i = 0; i < script->fail_count; i++)
		if (strcmp(script->fails[i].call, call) == 0)
			return script->fails[i].error;
	return 0;
}

const struct fault *script_fault(const struct script *script, long at, const char *what)
{
	for (int i = 0; i < script->fault_count; i++)
		if (script->faults[i].at == at && strcmp(script->faults[i].what, what) == 0)
			return &script->faults[i];
	return NULL;
}
