// A GraphQL server with the types of policies/graphql-fields, without any authorization: what reaches it is answered.
//
//   node subgraph.js PORT       prints `ready` when it listens
//
// GET /reached gives the documents that have come, and forgets them.

import { createServer } from 'node:http';
import { createSchema, createYoga } from 'graphql-yoga';

const port = Number(process.argv[2]);

const customers = [
  { id: '1', name: 'Ann', email: 'ann@example.com', birthday: '1990-01-01', card: '4111' },
  { id: '2', name: 'Bob', email: 'bob@example.com', birthday: '1991-01-01', card: '5500' },
];
const orders = [
  { id: '10', total: 40, customer: customers[0] },
  { id: '11', total: 7, customer: customers[1] },
];
const products = [{ name: 'Tea', price: 4, supplier: 'Leaf & Co' }];

const typeDefs = /* GraphQL */ `
  type Query {
    me: Customer
    customer(id: ID!): Customer
    orders(first: Int! = 20): [Order!]!
    products: [Product!]!
  }
  type Mutation {
    cancelOrder(id: ID!): Order
  }
  type Customer {
    id: ID!
    name: String
    email: String
    birthday: String
    card: String
  }
  type Order {
    id: ID!
    total: Int!
    customer: Customer
  }
  type Product {
    name: String!
    price: Int!
    supplier: String
  }
`;

const resolvers = {
  Query: {
    me: () => customers[0],
    customer: (_, { id }) => customers.find((customer) => customer.id === id),
    orders: (_, { first }) => orders.slice(0, first),
    products: () => products,
  },
  Mutation: {
    cancelOrder: (_, { id }) => orders.find((order) => order.id === id),
  },
};

let reached = [];
const remember = { onParams: ({ params }) => void reached.push(params.query) };
const yoga = createYoga({ schema: createSchema({ typeDefs, resolvers }), logging: false, plugins: [remember] });

createServer((request, response) => {
  if (request.url === '/reached') {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(reached));
    reached = [];
    return;
  }
  yoga(request, response);
}).listen(port, '127.0.0.1', () => console.log('ready'));
