/*
 * What is wrong with a request, in words for the sender: a strict parser owes a reason.
 */
#include "http/http.h"

#include "base/check.h"

struct fault_entry {
    int status;
    const char *text;
};

static const struct fault_entry faults[HTTP_FAULT_COUNT] = {
    [HTTP_OK] = {200, "Nothing is wrong with the request."},
    [HTTP_BAD_REQUEST_LINE] = {400, "The request line is not 'METHOD /path HTTP/1.1'."},
    [HTTP_BAD_VERSION] = {505, "Only HTTP/1.1 is spoken here."},
    [HTTP_BAD_TARGET] = {400, "The request target is not a well-formed '/path?query'."},
    [HTTP_BARE_CR] = {400, "A carriage return stands without its line feed."},
    [HTTP_BARE_LF] = {400, "A line ends with a bare line feed; lines end with CR LF."},
    [HTTP_OBS_FOLD] = {400, "A header line starts with a blank (obsolete line folding)."},
    [HTTP_BAD_HEADER_NAME] = {400, "A header line is not 'Name: value'."},
    [HTTP_BAD_HEADER_VALUE] = {400, "A header's value holds bytes that do not belong there."},
    [HTTP_TOO_MANY_HEADERS] = {431, "The request has too many header lines."},
    [HTTP_HEAD_TOO_LARGE] = {431, "The request's head is too large."},
    [HTTP_NO_HOST] = {400, "The request has no Host header."},
    [HTTP_TWO_HOSTS] = {400, "The request has more than one Host header."},
    [HTTP_BAD_CONTENT_LENGTH] = {400, "Content-Length is not a plain decimal number."},
    [HTTP_TWO_CONTENT_LENGTHS] = {400, "The request has more than one Content-Length header."},
    [HTTP_LENGTH_AND_CHUNKED] = {400,
                                 "Content-Length and Transfer-Encoding contradict each other."},
    [HTTP_BAD_TRANSFER_ENCODING] = {501, "The only Transfer-Encoding understood is 'chunked'."},
    [HTTP_BAD_EXPECT] = {417, "The only expectation that can be met is '100-continue'."},
    [HTTP_BAD_CHUNK] = {400, "The chunked body is malformed; extensions and trailers are refused."},
    [HTTP_BODY_TOO_LARGE] = {413, "The request's body is too large."},
    [HTTP_NO_MEMORY] = {503, "There is not enough memory for the request's body."},
};

const char *http_fault_text(enum http_fault f)
{
    CHECK((unsigned)f < HTTP_FAULT_COUNT);
    return faults[f].text;
}

int http_fault_status(enum http_fault f)
{
    CHECK((unsigned)f < HTTP_FAULT_COUNT);
    return faults[f].status;
}
