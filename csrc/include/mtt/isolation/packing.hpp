// Values as bytes, for the pipe between the supervisor and the process of the model. One description of a type serves
// both directions; what comes from the model's side is read without trusting it.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace mtt {

/// Bytes that no honest process sends.
struct PackingError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

template <class T>
inline constexpr bool is_number = (std::is_arithmetic_v<T> || std::is_enum_v<T>) && !std::is_same_v<T, bool>;
template <class T>
struct IsBlock : std::bool_constant<is_number<T>> {};
template <class T, size_t N>
struct IsBlock<std::array<T, N>> : IsBlock<T> {};
/// Copied as it lies in memory.
template <class T>
inline constexpr bool is_block = IsBlock<T>::value;

class Packer {
public:
    template <class... T>
    void operator()(const T&... values) {
        (put(values), ...);
    }
    [[nodiscard]] std::string take() { return std::move(bytes_); }

private:
    template <class T>
    void put(const T& value) {
        if constexpr (std::is_same_v<T, bool>) {
            bytes_.push_back(value ? '\1' : '\0');
        } else if constexpr (is_block<T>) {
            raw(&value, sizeof value);
        } else {
            // Nothing is changed: the same function describes the type for both directions.
            describe(*this, const_cast<T&>(value));
        }
    }
    void put(const std::string& text) {
        put(uint64_t(text.size()));
        bytes_ += text;
    }
    template <class T>
    void put(const std::vector<T>& values) {
        put(uint64_t(values.size()));
        if constexpr (is_block<T>) {
            raw(values.data(), values.size() * sizeof(T));
        } else {
            for (const auto& value : values) {
                put(value);
            }
        }
    }
    template <class T, size_t N>
        requires(!is_block<T>)
    void put(const std::array<T, N>& values) {
        for (const auto& value : values) {
            put(value);
        }
    }
    template <class A, class B>
    void put(const std::pair<A, B>& value) {
        put(value.first);
        put(value.second);
    }
    template <class K, class V>
    void put(const std::map<K, V>& values) {
        put(uint64_t(values.size()));
        for (const auto& [key, value] : values) {
            put(key);
            put(value);
        }
    }
    template <class T>
    void put(const std::optional<T>& value) {
        put(value.has_value());
        if (value.has_value()) {
            put(*value);
        }
    }
    void raw(const void* data, size_t size) {
        if (size > 0) {
            bytes_.append(static_cast<const char*>(data), size);
        }
    }

    std::string bytes_;
};

class Unpacker {
public:
    explicit Unpacker(std::string bytes): bytes_(std::move(bytes)) {}

    /// @throws PackingError if the bytes end too early
    template <class... T>
    void operator()(T&... values) {
        (get(values), ...);
    }
    template <class T>
    T take() {
        T out{};
        get(out);
        return out;
    }
    /// @throws PackingError if something is left
    void finish() const {
        if (at_ != bytes_.size()) {
            throw PackingError("more bytes than expected");
        }
    }

private:
    template <class T>
    void get(T& value) {
        if constexpr (std::is_same_v<T, bool>) {
            char byte = 0;
            raw(&byte, 1);
            value = byte != 0;
        } else if constexpr (is_block<T>) {
            raw(&value, sizeof value);
        } else {
            describe(*this, value);
        }
    }
    void get(std::string& text) {
        const size_t size = count(1);
        text.assign(bytes_, at_, size);
        at_ += size;
    }
    template <class T>
    void get(std::vector<T>& values) {
        if constexpr (is_block<T>) {
            values.resize(count(sizeof(T)));
            raw(values.data(), values.size() * sizeof(T));
        } else {
            const size_t size = count(1);
            values.clear();
            for (size_t k = 0; k < size; ++k) {
                get(values.emplace_back());
            }
        }
    }
    template <class T, size_t N>
        requires(!is_block<T>)
    void get(std::array<T, N>& values) {
        for (auto& value : values) {
            get(value);
        }
    }
    template <class A, class B>
    void get(std::pair<A, B>& value) {
        get(value.first);
        get(value.second);
    }
    template <class K, class V>
    void get(std::map<K, V>& values) {
        const size_t size = count(1);
        values.clear();
        for (size_t k = 0; k < size; ++k) {
            K key{};
            get(key);
            get(values[key]);
        }
    }
    template <class T>
    void get(std::optional<T>& value) {
        bool there = false;
        get(there);
        value.reset();
        if (there) {
            get(value.emplace());
        }
    }
    /// A count of items of at least `size` bytes each, which must all be there: nothing is reserved on trust.
    size_t count(size_t size) {
        uint64_t out = 0;
        raw(&out, sizeof out);
        if (out > (bytes_.size() - at_) / size) {
            throw PackingError("a count that the bytes do not hold");
        }
        return size_t(out);
    }
    void raw(void* data, size_t size) {
        if (size > bytes_.size() - at_) {
            throw PackingError("too few bytes");
        }
        if (size > 0) {
            std::memcpy(data, bytes_.data() + at_, size);
        }
        at_ += size;
    }

    std::string bytes_;
    size_t at_ = 0;
};

}  // namespace mtt
