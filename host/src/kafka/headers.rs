//! A message as a record, with its headers, whatever their keys are.

use std::ffi::CStr;
use std::ptr;

use bytes::Bytes;
use rdkafka::bindings::{rd_kafka_header_get_all, rd_kafka_message_headers};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::RDKafkaRespErr;

use crate::record::{Header, Record};

/// The record, copied out of librdkafka's buffer.
pub(super) fn record(message: &BorrowedMessage<'_>) -> Record {
    Record {
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(Bytes::copy_from_slice),
        payload: message.payload().map(Bytes::copy_from_slice),
        headers: headers(message),
    }
}

/// The headers in order. Bytes of a key that are not UTF-8 become U+FFFD: brokers let any bytes
/// pass, and rdkafka's own reader panics on them.
#[expect(
    unsafe_code,
    reason = "librdkafka has these bytes, and rdkafka no function that gives them"
)]
pub(super) fn headers(message: &BorrowedMessage<'_>) -> Vec<Header> {
    let mut headers = Vec::new();
    let mut list = ptr::null_mut();
    // SAFETY: the message lives as long as the borrow, and with it the list that this gives.
    let found = unsafe { rd_kafka_message_headers(message.ptr(), &raw mut list) };
    if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return headers;
    }
    loop {
        let (mut key, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list is valid, see above; an index beyond its end is an error and no more.
        let read = unsafe {
            rd_kafka_header_get_all(
                list,
                headers.len(),
                &raw mut key,
                &raw mut value,
                &raw mut size,
            )
        };
        if read != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || key.is_null() {
            return headers;
        }
        // SAFETY: librdkafka ends the key with a zero byte, and the value has `size` bytes.
        let (key, value) = unsafe {
            let value = (!value.is_null())
                .then(|| Bytes::copy_from_slice(std::slice::from_raw_parts(value.cast(), size)));
            (CStr::from_ptr(key).to_string_lossy().into_owned(), value)
        };
        headers.push(Header { key, value });
    }
}
