/* Compiled functions. They are optional: fws runs without them, and the equivalent Python code is the reference.
 *
 * receive: bytes from a socket (fws/clients/transport.py).
 * decode: the frames in the bytes of one read (fws/wire/frames.py). RFC 6455 section 5.2.
 * frame: a text or bytes as a frame (fws/wire/encoding.py).
 * send_each: one frame to many sockets (fws/channels/channel.py).
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define FIN_TEXT 0x81
#define FIN_BINARY 0x82
#define MASKED 0x80
#define ON_STACK 4096

#define MAX_READ (256 * 1024)

PyDoc_STRVAR(receive_doc,
"receive(fd, most)\n--\n\n"
"At most so many bytes of a socket, without waiting: empty at the end of the stream, None when there are none yet.");

static PyObject *
receive(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    /* One buffer for all. Its content is copied before other code, which needs the interpreter's lock, can read. */
    static char buffer[MAX_READ];
    Py_ssize_t most, got;
    long fd;

    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "receive(int, int)");
        return NULL;
    }
    fd = PyLong_AsLong(args[0]);
    most = PyLong_AsSsize_t(args[1]);
    if (PyErr_Occurred())
        return NULL;
    do
        got = recv((int)fd, buffer, most < 1 ? 1 : most > MAX_READ ? MAX_READ : most, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize(buffer, got < 0 ? 0 : got);
}

static void
unmask(unsigned char *out, const unsigned char *in, Py_ssize_t length, const unsigned char *mask)
{
    uint32_t four;
    uint64_t key, block;
    Py_ssize_t at = 0;

    memcpy(&four, mask, 4);
    key = (uint64_t)four << 32 | four;
    for (; at + 8 <= length; at += 8) {
        memcpy(&block, in + at, 8);
        block ^= key;
        memcpy(out + at, &block, 8);
    }
    for (; at < length; at++)
        out[at] = in[at] ^ mask[at & 3];
}

static PyObject *
text(const unsigned char *in, Py_ssize_t length, const unsigned char *mask)
{
    unsigned char stack[ON_STACK], *out = stack;
    PyObject *message;

    if (length > ON_STACK && !(out = PyMem_Malloc(length)))
        return PyErr_NoMemory();
    unmask(out, in, length, mask);
    message = PyUnicode_DecodeUTF8((const char *)out, length, NULL);
    if (out != stack)
        PyMem_Free(out);
    return message;
}

static PyObject *
binary(const unsigned char *in, Py_ssize_t length, const unsigned char *mask)
{
    PyObject *message = PyBytes_FromStringAndSize(NULL, length);

    if (message)
        unmask((unsigned char *)PyBytes_AS_STRING(message), in, length, mask);
    return message;
}

PyDoc_STRVAR(decode_doc,
"decode(stream, position, most, events)\n--\n\n"
"Read whole messages, one frame each, of at most `most` bytes, and append them to `events`.\n\n"
"Returns where the first frame begins that is something else, or not all there. Raises UnicodeDecodeError.");

static PyObject *
decode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    const unsigned char *stream, *start;
    Py_ssize_t size, position, most, length, left;
    PyObject *message;
    int failed;

    if (count != 4 || !PyBytes_Check(args[0]) || !PyList_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError, "decode(bytes, int, int, list)");
        return NULL;
    }
    stream = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    size = PyBytes_GET_SIZE(args[0]);
    position = PyLong_AsSsize_t(args[1]);
    most = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred())
        return NULL;
    if (position < 0) {
        PyErr_SetString(PyExc_ValueError, "position is negative");
        return NULL;
    }
    while (size - position >= 6) {
        start = stream + position;
        left = size - position;
        if ((start[0] != FIN_TEXT && start[0] != FIN_BINARY) || start[1] < MASKED)
            break;
        length = start[1] & 0x7F;
        if (length < 126) {
            start += 6;
            left -= 6;
        } else if (length == 126 && left >= 8) {
            length = (Py_ssize_t)start[2] << 8 | start[3];
            if (length < 126)
                break;
            start += 8;
            left -= 8;
        } else {
            break;
        }
        if (length > most || length > left)
            break;
        message = stream[position] == FIN_TEXT ? text(start, length, start - 4) : binary(start, length, start - 4);
        if (!message)
            return NULL;
        failed = PyList_Append(args[3], message);
        Py_DECREF(message);
        if (failed)
            return NULL;
        position = start + length - stream;
    }
    return PyLong_FromSsize_t(position);
}

PyDoc_STRVAR(frame_doc,
"frame(message)\n--\n\n"
"One frame for a str or bytes; None for anything else, and for a str that UTF-8 has no bytes for.");

static PyObject *
frame(PyObject *Py_UNUSED(module), PyObject *message)
{
    const char *payload;
    unsigned char *out, first;
    Py_ssize_t length, header;
    PyObject *result;

    if (PyUnicode_CheckExact(message)) {
        first = FIN_TEXT;
        if (!(payload = PyUnicode_AsUTF8AndSize(message, &length))) {
            PyErr_Clear();
            Py_RETURN_NONE;
        }
    } else if (PyBytes_CheckExact(message)) {
        first = FIN_BINARY;
        payload = PyBytes_AS_STRING(message);
        length = PyBytes_GET_SIZE(message);
    } else {
        Py_RETURN_NONE;
    }
    header = length < 126 ? 2 : length < 0x10000 ? 4 : 10;
    if (!(result = PyBytes_FromStringAndSize(NULL, header + length)))
        return NULL;
    out = (unsigned char *)PyBytes_AS_STRING(result);
    out[0] = first;
    if (header == 2) {
        out[1] = (unsigned char)length;
    } else if (header == 4) {
        out[1] = 126;
        out[2] = (unsigned char)(length >> 8);
        out[3] = (unsigned char)length;
    } else {
        out[1] = 127;
        for (int at = 0; at < 8; at++)
            out[2 + at] = (unsigned char)((uint64_t)length >> (56 - 8 * at));
    }
    memcpy(out + header, payload, length);
    return result;
}

static PyObject *name_fd, *name_format;

/* The receiver's `fd`; -2 with an exception set if it has none. */
static long
descriptor(PyObject *receiver)
{
    PyObject *fd = PyObject_GetAttr(receiver, name_fd);
    long result;

    if (!fd)
        return -2;
    result = PyLong_AsLong(fd);
    Py_DECREF(fd);
    return result == -1 && PyErr_Occurred() ? -2 : result;
}

/* Whether the receiver's `format` is this object; -1 with an exception set if it has none. */
static int
has_format(PyObject *receiver, PyObject *format)
{
    PyObject *own = PyObject_GetAttr(receiver, name_format);

    if (!own)
        return -1;
    Py_DECREF(own);
    return own == format;
}

PyDoc_STRVAR(send_each_doc,
"send_each(receivers, start, stop, frame, format)\n--\n\n"
"Send `frame` to those of `receivers[start:stop]` that have this format and a descriptor for it.\n\n"
"None among them is passed over. Returns the others, as (receiver, bytes sent): 0 for nothing.");

static PyObject *
send_each(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    PyObject *receiver, *rest, *pair;
    const char *frame;
    Py_ssize_t start, stop, size, sent;
    long fd;
    int failed, right;

    if (count != 5 || !PyList_Check(args[0]) || !PyBytes_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError, "send_each(list, int, int, bytes, object)");
        return NULL;
    }
    start = PyLong_AsSsize_t(args[1]);
    stop = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred())
        return NULL;
    frame = PyBytes_AS_STRING(args[3]);
    size = PyBytes_GET_SIZE(args[3]);
    if (!(rest = PyList_New(0)))
        return NULL;
    for (; start >= 0 && start < stop && start < PyList_GET_SIZE(args[0]); start++) {
        receiver = PyList_GET_ITEM(args[0], start);
        if (receiver == Py_None)
            continue;
        Py_INCREF(receiver);
        sent = 0;
        if ((fd = descriptor(receiver)) == -2 && PyErr_Occurred())
            goto error;
        if (fd >= 0 && (right = has_format(receiver, args[4])) < 0)
            goto error;
        if (fd >= 0 && right) {
            /* It never blocks, so the interpreter's lock is kept. Releasing it would take a tenth of the call. */
            sent = send((int)fd, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent == size) {
                Py_DECREF(receiver);
                continue;
            }
            if (sent < 0)
                sent = 0; /* the next write raises the error */
        }
        pair = Py_BuildValue("(On)", receiver, sent);
        if (!pair)
            goto error;
        failed = PyList_Append(rest, pair);
        Py_DECREF(pair);
        if (failed)
            goto error;
        Py_DECREF(receiver);
    }
    return rest;
error:
    Py_DECREF(receiver);
    Py_DECREF(rest);
    return NULL;
}

static PyMethodDef methods[] = {
    {"receive", (PyCFunction)(void (*)(void))receive, METH_FASTCALL, receive_doc},
    {"decode", (PyCFunction)(void (*)(void))decode, METH_FASTCALL, decode_doc},
    {"frame", frame, METH_O, frame_doc},
    {"send_each", (PyCFunction)(void (*)(void))send_each, METH_FASTCALL, send_each_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__native(void)
{
    name_fd = PyUnicode_InternFromString("fd");
    name_format = PyUnicode_InternFromString("format");
    if (!name_fd || !name_format)
        return NULL;
    return PyModule_Create(&definition);
}
