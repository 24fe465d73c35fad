/* Calls kernels of a library for another processor, under emulation: requests come on stdin, results go to stdout.

   It stands in for Python, as far as `vecstore.kernels.ahead.trampolines` calls it: numbers, tuples and arrays that look
   like Python's in the fields that are read. One-dimensional arrays of bytes end where memory ends, so that reading
   behind them is seen. `emulated.py` writes the requests. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct Object { /* numpy's array, from byte 16 on, or a number or tuple in the same place */
  int64_t references;
  void *type;
  void *data; int64_t dimensions; int64_t *shape, *strides; void *base; char *dtype; int32_t flags;
  char kind; int64_t whole; double real; struct Object **items; int64_t count, size, mapped; void *map;
} Object;
typedef Object *(*Kernel)(Object *, Object **, int64_t);

static char array_type[512], raised;
Object _Py_NoneStruct = {.kind = 'N'}, _Py_NotImplementedStruct = {.kind = 'X'}, *PyExc_RuntimeError;

static Object *new_object(char kind) { Object *one = calloc(1, sizeof *one); one->kind = kind; return one; }
static Object *whole(char kind, int64_t value) { Object *one = new_object(kind); one->whole = value; return one; }
static int64_t as_whole(Object *one) {
  if (one->kind == 'I' || one->kind == 'B') return one->whole;
  raised = 1; return -1;
}

void PyErr_Clear(void) { raised = 0; }
Object *PyErr_Occurred(void) { return raised ? &_Py_NoneStruct : 0; }
void PyErr_SetString(Object *kind, const char *text) { fprintf(stderr, "%s\n", text); }
void *PyEval_SaveThread(void) { return 0; }
void PyEval_RestoreThread(void *state) {}
Object *PyBool_FromLong(int64_t value) { return whole('B', value); }
double PyFloat_AsDouble(Object *one) { return one->kind == 'F' ? one->real : as_whole(one); }
Object *PyFloat_FromDouble(double value) { Object *one = new_object('F'); one->real = value; return one; }
int64_t PyLong_AsLongLong(Object *one) { return as_whole(one); }
uint64_t PyLong_AsUnsignedLongLongMask(Object *one) { return as_whole(one); }
Object *PyLong_FromLongLong(int64_t value) { return whole('I', value); }
Object *PyLong_FromUnsignedLongLong(uint64_t value) { return whole('I', value); }
int PyObject_IsTrue(Object *one) { return as_whole(one) != 0; }
Object *PyTuple_New(int64_t count) {
  Object *one = new_object('T'); one->count = count; one->items = calloc(count + 1, sizeof *one->items); return one;
}
Object *PyTuple_GetItem(Object *one, int64_t i) { return one->items[i]; }
int PyTuple_SetItem(Object *one, int64_t i, Object *item) { one->items[i] = item; return 0; }
int64_t PyTuple_Size(Object *one) { if (one->kind == 'T') return one->count; raised = 1; return -1; }
int PyType_IsSubtype(void *one, void *other) { return one == other; }
void Py_IncRef(Object *one) {}

static void take(void *into, size_t size) { if (size && fread(into, size, 1, stdin) != 1) exit(0); }
static int64_t taken(void) { int64_t value; take(&value, 8); return value; }
static void give(const void *from, size_t size) { if (size) fwrite(from, size, 1, stdout); }

static Object *taken_array(void) {
  Object *one = new_object('A');
  int64_t number = taken(), page = 1 << 16;
  one->type = array_type; one->flags = taken(); one->dimensions = taken(); one->size = taken();
  one->dtype = calloc(1, 64); one->dtype[26] = '='; *(int32_t *)(one->dtype + 28) = number;
  one->shape = malloc(64); one->strides = malloc(64);
  for (int i = 0; i < one->dimensions; i++) one->shape[i] = taken();
  for (int i = 0; i < one->dimensions; i++) one->strides[i] = taken();
  int64_t room = (one->size + page - 1) / page * page + page;
  one->mapped = room + page;
  one->map = mmap(0, one->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int bytes = one->dimensions == 1 && one->strides[0] == 1;
  one->data = (char *)one->map + (bytes ? room - one->size : 0);
  if (bytes) mprotect((char *)one->map + room, page, PROT_NONE);
  take(one->data, one->size);
  return one;
}

static Object *taken_object(void) {
  char kind; take(&kind, 1);
  if (kind == 'A') return taken_array();
  if (kind == 'T') {
    Object *one = PyTuple_New(taken());
    for (int64_t i = 0; i < one->count; i++) one->items[i] = taken_object();
    return one;
  }
  Object *one = new_object(kind);
  if (kind == 'F') take(&one->real, 8); else one->whole = taken();
  return one;
}

static void give_result(Object *one) {
  give(&one->kind, 1);
  if (one->kind == 'F') give(&one->real, 8);
  if (one->kind == 'I' || one->kind == 'B') give(&one->whole, 8);
  if (one->kind == 'T') { give(&one->count, 8); for (int64_t i = 0; i < one->count; i++) give_result(one->items[i]); }
}

static void give_arrays(Object *one) { /* what may have been written, and let go of everything */
  if (one->kind == 'T') for (int64_t i = 0; i < one->count; i++) give_arrays(one->items[i]);
  if (one->kind == 'T') free(one->items);
  if (one->kind == 'A') {
    if (one->flags & 0x400) give(one->data, one->size);
    munmap(one->map, one->mapped); free(one->dtype); free(one->shape); free(one->strides);
  }
  free(one);
}

int main(int count, char **given) {
  void *library = dlopen(given[1], RTLD_NOW);
  if (!library) { fprintf(stderr, "%s\n", dlerror()); return 1; }
  for (;;) {
    char name[256] = {0};
    take(name, taken());
    Object *arguments = taken_object();
    Kernel kernel = (Kernel)dlsym(library, name);
    if (!kernel) { fprintf(stderr, "no kernel %s\n", name); return 1; }
    Object *result = kernel((Object *)array_type, arguments->items, arguments->count), failed = {.kind = 'E'};
    give_result(result ? result : &failed);
    give_arrays(arguments);
    fflush(stdout);
  }
}
