#ifndef SYSCRAP_CMONGOC_SHIM_H
#define SYSCRAP_CMONGOC_SHIM_H

#include <mongoc/mongoc.h>
#include <time.h>

// `bson_t` is aligned to 128 bytes, which Swift cannot do: documents cross this border as bytes.

/// The time by a clock that is never set.
static inline int64_t syscrap_nanoseconds (void)
{
   struct timespec now;
   clock_gettime (CLOCK_MONOTONIC, &now);
   return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

/// Microseconds since 1970 by this machine's clock.
static inline int64_t syscrap_microseconds_since_1970 (void)
{
   struct timespec now;
   clock_gettime (CLOCK_REALTIME, &now);
   return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/// Copies a reply out and destroys it. The result is freed with bson_free().
static inline uint8_t *syscrap_take_reply (bson_t *reply)
{
   uint32_t length = 0;
   return bson_destroy_with_steal (reply, true, &length);
}

/// Runs one command.
/// mode: 0 reads (may be repeated by the library), 1 writes, 2 neither.
/// server: 0, or the number of the server it has to go to. reply: always set; freed with bson_free().
static inline bool syscrap_command (mongoc_client_t *client,
                                    const char *database,
                                    const uint8_t *bytes,
                                    size_t length,
                                    int mode,
                                    const mongoc_client_session_t *session,
                                    uint32_t server,
                                    uint8_t **reply,
                                    bson_error_t *error)
{
   bson_t command, answer, options;
   bool ok = false;
   bson_init (&options);
   if (!bson_init_static (&command, bytes, length)) {
      bson_init (&answer);
      bson_set_error (error, MONGOC_ERROR_BSON, MONGOC_ERROR_BSON_INVALID, "the command is no BSON document");
   } else if (session && !mongoc_client_session_append (session, &options, error)) {
      bson_init (&answer);
   } else {
      if (server) {
         BSON_APPEND_INT32 (&options, "serverId", (int32_t) server);
      }
      if (mode == 0) {
         ok = mongoc_client_read_command_with_opts (client, database, &command, NULL, &options, &answer, error);
      } else if (mode == 1) {
         ok = mongoc_client_write_command_with_opts (client, database, &command, &options, &answer, error);
      } else {
         ok = mongoc_client_command_with_opts (client, database, &command, NULL, &options, &answer, error);
      }
   }
   bson_destroy (&options);
   *reply = syscrap_take_reply (&answer);
   return ok;
}

/// Ends a session's transaction. reply as above.
static inline bool syscrap_commit (mongoc_client_session_t *session, uint8_t **reply, bson_error_t *error)
{
   bson_t answer;
   bool ok = mongoc_client_session_commit_transaction (session, &answer, error);
   *reply = syscrap_take_reply (&answer);
   return ok;
}

/// Watches a database. pipeline and options are BSON documents. NULL: they are no documents.
static inline mongoc_change_stream_t *syscrap_watch (mongoc_client_t *client,
                                                     const char *name,
                                                     const uint8_t *pipeline,
                                                     size_t pipeline_length,
                                                     const uint8_t *options,
                                                     size_t options_length)
{
   bson_t stages, settings;
   mongoc_database_t *database;
   mongoc_change_stream_t *stream;
   if (!bson_init_static (&stages, pipeline, pipeline_length) ||
       !bson_init_static (&settings, options, options_length)) {
      return NULL;
   }
   database = mongoc_client_get_database (client, name);
   stream = mongoc_database_watch (database, &stages, &settings);
   mongoc_database_destroy (database);
   return stream;
}

/// The next event: 1 with its bytes (valid until the next call), 0 when there is none yet, -1 on an error.
static inline int syscrap_next_event (mongoc_change_stream_t *stream,
                                      const uint8_t **bytes,
                                      uint32_t *length,
                                      bson_error_t *error)
{
   const bson_t *event = NULL, *answer = NULL;
   if (mongoc_change_stream_next (stream, &event)) {
      *bytes = bson_get_data (event);
      *length = event->len;
      return 1;
   }
   if (mongoc_change_stream_error_document (stream, error, &answer)) {
      *bytes = answer ? bson_get_data (answer) : NULL;
      *length = answer ? answer->len : 0;
      return -1;
   }
   return 0;
}

/// Where the stream stands; NULL when it does not know yet. Valid until the next call.
static inline const uint8_t *syscrap_resume_token (mongoc_change_stream_t *stream, uint32_t *length)
{
   const bson_t *token = mongoc_change_stream_get_resume_token (stream);
   *length = token ? token->len : 0;
   return token ? bson_get_data (token) : NULL;
}

static inline const char *syscrap_error_text (const bson_error_t *error)
{
   return error->message;
}

#endif
