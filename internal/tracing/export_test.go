package tracing

import "go.opentelemetry.io/otel/attribute"

// WithoutSpan is the attribute that counts the batches without a span.
func WithoutSpan(n int) attribute.KeyValue { return keyUnspanned.Int(n) }
